//! A receiver of callbacks that keeps what it was sent and answers as it is told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, Uri},
    response::Response,
};
use axum_server::tls_rustls::RustlsConfig;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};
use vmctl_daemon::testing::Identity;

/// So many that they never end.
const OPEN: usize = Semaphore::MAX_PERMITS;

/// One request.
#[derive(Debug, Clone)]
pub struct Hit {
    pub method: Method,
    pub uri: Uri,
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
    /// Every answer takes one.
    permits: Semaphore,
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
        Self::bind("127.0.0.1", None, OPEN, answer).await
    }

    /// Shows a certificate.
    pub async fn with_identity(shown: &Identity) -> Self {
        Self::start_as(shown, || answer(200, &[])).await
    }

    /// Shows a certificate, and answers as it is told.
    pub async fn start_as(
        shown: &Identity,
        answer: impl Fn() -> Response + Send + Sync + 'static,
    ) -> Self {
        let Identity { certificate, key } = shown.clone();
        let tls = RustlsConfig::from_pem(certificate.into(), key.into()).await;
        Self::bind("127.0.0.1", Some(tls.unwrap()), OPEN, answer).await
    }

    /// Takes requests and answers none before [`Self::let_go`].
    pub async fn slow() -> Self {
        Self::bind("127.0.0.1", None, 0, || answer(200, &[])).await
    }

    /// Answers what waits, and what comes from now on.
    pub fn let_go(&self) {
        self.shared.permits.add_permits(OPEN);
    }

    /// Answers on another host than the others do.
    pub async fn elsewhere() -> Self {
        Self::bind("127.0.0.2", None, OPEN, || answer(200, &[])).await
    }

    async fn bind(
        host: &str,
        tls: Option<RustlsConfig>,
        permits: usize,
        answer: impl Fn() -> Response + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            hits: Mutex::default(),
            permits: Semaphore::new(permits),
            answer: Box::new(answer),
        });
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().fallback(take).with_state(shared.clone());
        let task = tokio::spawn(serve(listener, tls, app));
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
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let hit = Hit {
        method,
        uri,
        headers,
        body,
    };
    shared.hits.lock().unwrap().push(hit);
    shared.permits.acquire().await.unwrap().forget();
    (shared.answer)()
}

async fn serve(listener: TcpListener, tls: Option<RustlsConfig>, app: Router) {
    let (listener, app) = (listener.into_std().unwrap(), app.into_make_service());
    let ended = match tls {
        Some(tls) => {
            axum_server::from_tcp_rustls(listener, tls)
                .unwrap()
                .serve(app)
                .await
        }
        None => axum_server::from_tcp(listener).unwrap().serve(app).await,
    };
    ended.unwrap();
}
