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

    /// Gives an exchange another form; its bindings stay.
    pub fn change(&mut self, spec: &ExchangeSpec) {
        self.forget();
        if let Some(exchange) = self.exchanges.get_mut(&spec.name) {
            exchange.spec = spec.clone();
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The textbook matcher: row by row, whether the words so far match the pattern so far.
    fn matches(pattern: &str, key: &str) -> bool {
        let words: Vec<_> = key.split('.').collect();
        let mut reached = vec![false; words.len() + 1];
        reached[0] = true;
        for part in pattern.split('.') {
            let mut next = vec![false; words.len() + 1];
            for at in 0..=words.len() {
                let by_word = at > 0 && reached[at - 1] && (part == "*" || part == words[at - 1]);
                let by_hash = part == "#" && (reached[at] || (at > 0 && next[at - 1]));
                next[at] = if part == "#" { by_hash } else { by_word };
            }
            reached = next;
        }
        reached[words.len()]
    }

    fn exchange(name: &str, alternate: Option<&str>) -> ExchangeSpec {
        ExchangeSpec {
            name: name.to_owned(),
            exchange_type: ExchangeType::Topic,
            alternate: alternate.map(str::to_owned),
        }
    }

    fn binding(exchange: &str, key: &str) -> BindingSpec {
        BindingSpec {
            exchange: exchange.to_owned(),
            key: key.to_owned(),
        }
    }

    fn route(router: &mut Router, exchange: &str, key: &str) -> Vec<String> {
        let route = router.route(exchange, key).unwrap();
        route.iter().map(ToString::to_string).collect()
    }

    fn words(alphabet: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(alphabet), 1..=most).prop_map(|w| w.join("."))
    }

    proptest! {
        #[test]
        fn a_route_is_what_the_textbook_says(
            patterns in prop::collection::vec(words(&["a", "b", "*", "#"], 5), 1..8),
            keys in prop::collection::vec(words(&["a", "b", "c"], 6), 1..8),
            gone in any::<prop::sample::Index>(),
        ) {
            let mut router = Router::default();
            router.add(exchange("main", Some("rest")));
            router.add(exchange("rest", None));
            router.bind("left-over", &binding("rest", "#"));
            for (n, pattern) in patterns.iter().enumerate() {
                router.bind(&n.to_string(), &binding("main", pattern));
            }
            let gone = gone.index(patterns.len());
            for is_gone in [false, false, true] {
                if is_gone {
                    router.unbind(&gone.to_string());
                }
                for key in &keys {
                    let mut expected: Vec<_> = (0..patterns.len())
                        .filter(|n| !(is_gone && *n == gone) && matches(&patterns[*n], key))
                        .map(|n| n.to_string())
                        .collect();
                    if expected.is_empty() {
                        expected.push("left-over".to_owned());
                    }
                    prop_assert_eq!(route(&mut router, "main", key), expected);
                }
            }
        }
    }

    #[test]
    fn alternates_that_name_each_other_end() {
        let mut router = Router::default();
        router.add(exchange("one", Some("two")));
        router.add(exchange("two", Some("one")));
        assert!(route(&mut router, "one", "a").is_empty());
        router.bind("q", &binding("two", "a"));
        assert_eq!(route(&mut router, "one", "a"), ["q"]);
        assert!(router.route("none", "a").is_none());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut router = Router::default();
        router.add(exchange("main", None));
        router.bind("q", &binding("main", "#"));
        for n in 0..(REMEMBERED * 2 + 10) {
            assert_eq!(route(&mut router, "main", &n.to_string()), ["q"]);
        }
        assert!(router.exchanges["main"].routes.len() <= REMEMBERED);
    }
}
