//! A search cluster for tests: one node in memory, on a port of this machine.
//!
//! It refuses what a real one refuses, with the answers of a real one, and beyond that whatever this
//! project has no reason to send. The pages of the products' documentation that a check stands for are
//! named beside it. It can be away, hang, be full or be wiped, and says what it has.

#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a panic is a failed test"
)]

mod answer;
mod bulk;
mod find;
mod node;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{Router, body::to_bytes, extract::Request, http::header, response::Response};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{Auth, Cluster, Config};

use answer::{Answer, refuse};
use node::Node;

/// Which product and version it says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// OpenSearch 2.19.
    OpenSearch,
    /// Elasticsearch 9.1.
    Elasticsearch,
    /// Elasticsearch 7.17.
    OldElasticsearch,
}

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// 503 to everything.
    Unavailable,
    /// 429 to everything.
    Busy,
    /// Not at all.
    Silent,
    /// 429 for so many of the next documents.
    BusyItems(usize),
}

/// What a test can set.
#[derive(Debug)]
struct Rules {
    mood: Mood,
    most_bytes: usize,
    credential: Option<String>,
}

struct Shared {
    node: Mutex<Node>,
    rules: Mutex<Rules>,
}

/// A cluster of one node.
pub struct StandIn {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Mutex<Option<(CancellationToken, JoinHandle<()>)>>,
}

impl StandIn {
    /// Starts one on a free port.
    pub async fn start(product: Product) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stand_in = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Shared {
                node: Mutex::new(Node::new(product)),
                rules: Mutex::new(Rules {
                    mood: Mood::Well,
                    // `http.max_content_length` of both products.
                    most_bytes: 100 * 1024 * 1024,
                    credential: None,
                }),
            }),
            serving: Mutex::new(None),
        };
        stand_in.serve(listener);
        stand_in
    }

    /// Returns its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a client of it, on the data stream `vmctl-events`.
    pub fn client(&self, auth: Auth) -> Cluster {
        let config = Config {
            url: self.url().into(),
            auth,
            name: "vmctl-events".parse().unwrap(),
            ca_pem: None,
        };
        Cluster::new(&config).unwrap()
    }

    /// Closes the port, and every connection.
    pub async fn leave(&self) {
        let serving = self.serving.lock().unwrap().take();
        if let Some((stop, task)) = serving {
            stop.cancel();
            task.await.unwrap();
        }
    }

    /// Opens the port again; what was there is there.
    pub async fn come_back(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }

    /// Loses everything, as a cluster that was made anew.
    pub fn wipe(&self) {
        let mut node = self.node();
        *node = Node::new(node.product);
    }

    /// Says how it answers from now on.
    pub fn set_mood(&self, mood: Mood) {
        self.rules().mood = mood;
    }

    /// Says how many bytes a request may have.
    pub fn set_most_bytes(&self, bytes: usize) {
        self.rules().most_bytes = bytes;
    }

    /// Asks for this `Authorization`.
    pub fn set_credential(&self, header: &str) {
        self.rules().credential = Some(header.to_owned());
    }

    /// Returns every document of the data streams with its id, in the order in which they came.
    pub fn documents(&self) -> Vec<(String, Value)> {
        self.node().documents()
    }

    /// Returns something that was put, by its path: a template, a policy, a lifecycle.
    pub fn put_at(&self, path: &str) -> Option<Value> {
        self.node().put.get(path).cloned()
    }

    /// Gives a field another type, as somebody's own template would.
    pub fn change_field(&self, field: &str, of_type: &str) {
        for index in self.node().indices.values_mut() {
            index.fields.insert(field.to_owned(), of_type.to_owned());
        }
    }

    /// Returns how many bulk requests it has taken, and how many documents these had at most.
    pub fn bulks(&self) -> (usize, usize) {
        let node = self.node();
        (node.bulks, node.most_items)
    }

    fn node(&self) -> MutexGuard<'_, Node> {
        self.shared.node.lock().unwrap()
    }

    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.shared.rules.lock().unwrap()
    }

    fn serve(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let stop = CancellationToken::new();
        let (stopping, stopped) = (stop.clone(), stop.clone());
        let handler = move |request| handle(Arc::clone(&shared), stopping.clone(), request);
        let router = Router::new().fallback(handler);
        let task = tokio::spawn(async move {
            let serving = axum::serve(listener, router);
            let served = serving.with_graceful_shutdown(stopped.cancelled_owned());
            served.await.unwrap();
        });
        *self.serving.lock().unwrap() = Some((stop, task));
    }
}

async fn handle(shared: Arc<Shared>, stopping: CancellationToken, request: Request) -> Response {
    let (mood, most_bytes, credential) = {
        let rules = shared.rules.lock().unwrap();
        (rules.mood, rules.most_bytes, rules.credential.clone())
    };
    match mood {
        Mood::Silent => {
            stopping.cancelled().await;
            return Answer::empty(503).into();
        }
        Mood::Unavailable => return refuse(503, "unavailable", "no elected master").into(),
        Mood::Busy => return refuse(429, "circuit_breaking_exception", "too busy").into(),
        Mood::Well | Mood::BusyItems(_) => {}
    }
    let (parts, body) = request.into_parts();
    let text = |name| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if credential.is_some() && text(header::AUTHORIZATION) != credential.as_deref() {
        return refuse(401, "security_exception", "unable to authenticate").into();
    }
    let Ok(body) = to_bytes(body, most_bytes).await else {
        // A real one answers without a body.
        return Answer::empty(413).into();
    };
    let content_type = text(header::CONTENT_TYPE).map(str::to_owned);
    let ask = Ask {
        method: parts.method.to_string(),
        path: parts.uri.path().trim_matches('/').to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        content_type,
        body: body.to_vec(),
    };
    let mut node = shared.node.lock().unwrap();
    let answer = node.answer(&ask, &mut shared.rules.lock().unwrap().mood);
    answer.unwrap_or_else(|refusal| refusal).into()
}

/// One request.
struct Ask {
    method: String,
    path: String,
    query: String,
    content_type: Option<String>,
    body: Vec<u8>,
}
