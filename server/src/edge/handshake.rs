//! The TLS handshake: bounded in time and in number, and clear to those who speak plain HTTP.

use std::{io, sync::Arc, time::Duration};

use axum::http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use vmctl_api_types::{Problem, ProblemType};

use super::{refusal, stream::BoundedStream};

/// Bytes of a plain request that are read before its connection is closed. What is left unread
/// would make the system throw the answer away.
const PLAIN_BYTES: u64 = 64 * 1024;

/// Shakes hands with those who connect.
#[derive(Clone)]
pub(crate) struct Handshakes {
    acceptor: TlsAcceptor,
    places: Arc<Semaphore>,
    deadline: Duration,
}

impl Handshakes {
    pub fn new(config: Arc<ServerConfig>, at_once: usize, deadline: Duration) -> Self {
        Self {
            acceptor: config.into(),
            places: Arc::new(Semaphore::new(at_once)),
            deadline,
        }
    }

    /// Shakes hands, or says why not.
    pub async fn shake(
        &self,
        stream: BoundedStream<TcpStream>,
    ) -> io::Result<TlsStream<BoundedStream<TcpStream>>> {
        let Ok(_place) = self.places.try_acquire() else {
            failed("busy");
            return Err(io::Error::other("too many handshakes"));
        };
        let greeted = timeout(self.deadline, self.greet(stream)).await;
        greeted.unwrap_or_else(|_| {
            failed("timeout");
            Err(io::ErrorKind::TimedOut.into())
        })
    }

    async fn greet(
        &self,
        stream: BoundedStream<TcpStream>,
    ) -> io::Result<TlsStream<BoundedStream<TcpStream>>> {
        match stream.first_byte().await? {
            // A load balancer that only looks whether somebody listens.
            None => Err(io::ErrorKind::UnexpectedEof.into()),
            Some(letter) if letter.is_ascii_alphabetic() => {
                failed("plain");
                refuse_plain(stream).await?;
                Err(io::Error::other("plain HTTP where TLS is spoken"))
            }
            Some(_) => {
                let shaken = self.acceptor.accept(stream).await;
                shaken.inspect_err(|_| failed("refused"))
            }
        }
    }
}

fn failed(reason: &'static str) {
    metrics::counter!("tls_handshakes_failed_total", "reason" => reason).increment(1);
}

/// Answers in the words that the client understands.
async fn refuse_plain(mut stream: BoundedStream<TcpStream>) -> io::Result<()> {
    let mut problem = Problem::new(ProblemType::BadRequest);
    problem.detail = Some("this address speaks https only".to_owned());
    let answer = refusal::answer(StatusCode::BAD_REQUEST, &problem).unwrap_or_default();
    stream.write_all(&answer).await?;
    stream.shutdown().await?;
    let mut unread = stream.take(PLAIN_BYTES);
    tokio::io::copy(&mut unread, &mut tokio::io::sink()).await?;
    Ok(())
}
