//! Exchanges and bindings: which queues a message goes to.

use std::{collections::HashMap, sync::Arc};

use crate::{
    bus::topic_matches,
    topology::{BindingSpec, ExchangeSpec, ExchangeType},
};

/// Routes that are remembered; a key can come from anybody, so there is a bound.
const REMEMBERED: usize = 10_000;

/// The exchanges with their bindings.
#[derive(Default)]
pub(super) struct Router {
    exchanges: HashMap<String, Exchange>,
    remembered: usize,
}

struct Exchange {
    spec: ExchangeSpec,
    /// Pattern and queue.
    bindings: Vec<(String, Arc<str>)>,
    /// Routes worked out since the bindings changed last.
    routes: HashMap<String, Arc<[Arc<str>]>>,
}

impl Router {
    pub fn exchange(&self, name: &str) -> Option<&ExchangeSpec> {
        self.exchanges.get(name).map(|exchange| &exchange.spec)
    }

    /// Adds an exchange that is not there yet.
    pub fn add(&mut self, spec: ExchangeSpec) {
        self.forget();
        let exchange = Exchange {
            spec,
            bindings: Vec::new(),
            routes: HashMap::new(),
        };
        self.exchanges.insert(exchange.spec.name.clone(), exchange);
    }

    /// Binds a queue; binding twice is once. False when there is no such exchange.
    pub fn bind(&mut self, queue: &str, binding: &BindingSpec) -> bool {
        self.forget();
        let Some(exchange) = self.exchanges.get_mut(&binding.exchange) else {
            return false;
        };
        let there = |(key, bound): &(String, Arc<str>)| *key == binding.key && **bound == *queue;
        if !exchange.bindings.iter().any(there) {
            exchange.bindings.push((binding.key.clone(), queue.into()));
        }
        true
    }

    /// Removes all bindings of a queue.
    pub fn unbind(&mut self, queue: &str) {
        self.forget();
        for exchange in self.exchanges.values_mut() {
            exchange.bindings.retain(|(_, bound)| **bound != *queue);
        }
    }

    /// Returns the queues that a message goes to, each once; none when nothing is bound for it.
    /// `None` when there is no such exchange.
    pub fn route(&mut self, exchange: &str, key: &str) -> Option<Arc<[Arc<str>]>> {
        let found = self.exchanges.get(exchange)?;
        if let Some(route) = found.routes.get(key) {
            return Some(Arc::clone(route));
        }
        if self.remembered >= REMEMBERED {
            self.forget();
        }
        let route: Arc<[_]> = self.work_out(exchange, key).into();
        self.remembered += 1;
        let found = self.exchanges.get_mut(exchange)?;
        found.routes.insert(key.to_owned(), Arc::clone(&route));
        Some(route)
    }

    fn work_out(&self, exchange: &str, key: &str) -> Vec<Arc<str>> {
        let mut next = self.exchanges.get(exchange);
        // Alternate exchanges may name each other.
        for _ in 0..self.exchanges.len() {
            let Some(exchange) = next else {
                break;
            };
            let queues = exchange.queues(key);
            if !queues.is_empty() {
                return queues;
            }
            let alternate = exchange.spec.alternate.as_ref();
            next = alternate.and_then(|name| self.exchanges.get(name));
        }
        Vec::new()
    }

    fn forget(&mut self) {
        self.remembered = 0;
        for exchange in self.exchanges.values_mut() {
            exchange.routes.clear();
        }
    }
}

impl Exchange {
    fn queues(&self, key: &str) -> Vec<Arc<str>> {
        let takes = |pattern: &str| match self.spec.exchange_type {
            ExchangeType::Topic => topic_matches(pattern, key),
            ExchangeType::Fanout => true,
        };
        let mut queues: Vec<Arc<str>> = Vec::new();
        for (pattern, queue) in &self.bindings {
            if !queues.contains(queue) && takes(pattern) {
                queues.push(Arc::clone(queue));
            }
        }
        queues
    }
}
