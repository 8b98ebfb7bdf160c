//! A receiver of callbacks that keeps what it was sent and answers as it is told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method},
    response::Response,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// One request.
#[derive(Debug, Clone)]
pub struct Hit {
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Hit {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

type Answer = dyn Fn() -> Response + Send + Sync;

struct Shared {
    hits: Mutex<Vec<Hit>>,
    answer: Box<Answer>,
}

pub struct Receiver {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub async fn start(answer: impl Fn() -> Response + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared {
            hits: Mutex::default(),
            answer: Box::new(answer),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(take).with_state(shared.clone());
        let task = tokio::spawn(serve(listener, app));
        Self {
            address,
            shared,
            task,
        }
    }

    /// Answers with a status.
    pub async fn with_status(status: u16) -> Self {
        Self::start(move || answer(status, &[])).await
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?a=b", self.address)
    }

    pub fn hits(&self) -> Vec<Hit> {
        self.shared.hits.lock().unwrap().clone()
    }
}

pub fn answer(status: u16, headers: &[(&str, &str)]) -> Response {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from("an answer")).unwrap()
}

async fn take(
    State(shared): State<Arc<Shared>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let hit = Hit {
        method,
        headers,
        body,
    };
    shared.hits.lock().unwrap().push(hit);
    (shared.answer)()
}

async fn serve(listener: TcpListener, app: Router) {
    let server = axum_server::from_tcp(listener.into_std().unwrap()).unwrap();
    server.serve(app.into_make_service()).await.unwrap();
}
