//! One client's connection.
//!
//! Three bounds that hyper does not have: how many connections there are, how long a client may take
//! to read, and what hyper's own refusals look like. hyper answers a request that it cannot parse by
//! a bare status line; that is completed to a problem document here.

use std::{
    future::{Future, Ready, ready},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum_server::accept::Accept;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};
use vmctl_api_types::Problem;

use crate::error;

/// Wraps accepted connections.
#[derive(Debug, Clone)]
pub(crate) struct Bounded {
    connections: Arc<Semaphore>,
    write_deadline: Duration,
}

impl Bounded {
    pub fn new(connections: usize, write_deadline: Duration) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(connections)),
            write_deadline,
        }
    }
}

impl<S> Accept<TcpStream, S> for Bounded {
    type Stream = BoundedStream<TcpStream>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
            metrics::counter!("http_connections_refused_total").increment(1);
            return ready(Err(io::Error::other("too many connections")));
        };
        // Answers are small: they must not wait for the client's acknowledgement.
        let stream = stream.set_nodelay(true).map(|()| BoundedStream {
            io: stream,
            _permit: Some(permit),
            write_deadline: self.write_deadline,
            stalled: None,
            replacement: Vec::new(),
        });
        ready(stream.map(|stream| (stream, service)))
    }
}

/// A connection with a deadline for writes.
#[derive(Debug)]
pub(crate) struct BoundedStream<I> {
    io: I,
    _permit: Option<OwnedSemaphorePermit>,
    write_deadline: Duration,
    /// Runs while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What is written in place of a bare refusal.
    replacement: Vec<u8>,
}

impl<I: AsyncWrite + Unpin> BoundedStream<I> {
    /// Errs once a write has made no progress for the whole deadline.
    fn watch<T>(&mut self, poll: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let deadline = self.write_deadline;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + deadline)));
        if stalled.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        Poll::Pending
    }

    fn write_replacement(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.replacement.is_empty() {
            let poll = Pin::new(&mut self.io).poll_write(cx, &self.replacement);
            match self.watch(poll, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => drop(self.replacement.drain(..n)),
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for BoundedStream<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for BoundedStream<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.write_replacement(cx))?;
        if let Some(completed) = complete_refusal(bytes) {
            self.replacement = completed;
            // It is taken over; the flush that follows writes it.
            return Poll::Ready(Ok(bytes.len()));
        }
        let poll = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watch(poll, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.write_replacement(cx))?;
        let poll = Pin::new(&mut self.io).poll_flush(cx);
        self.watch(poll, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.write_replacement(cx))?;
        let poll = Pin::new(&mut self.io).poll_shutdown(cx);
        self.watch(poll, cx)
    }
}

/// Completes a refusal of hyper's own. Every answer of ours has an `x-request-id`, and there is no
/// such line in an empty 4xx that hyper writes by itself.
fn complete_refusal(bytes: &[u8]) -> Option<Vec<u8>> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 4")?;
    let head = std::str::from_utf8(bytes).ok()?.to_ascii_lowercase();
    if !head.ends_with("\r\n\r\n")
        || !head.contains("\r\ncontent-length: 0\r\n")
        || head.contains("\r\nx-request-id:")
    {
        return None;
    }
    let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
    let status = axum::http::StatusCode::from_u16(400 + digits.parse::<u16>().ok()?).ok()?;
    let problem = Problem::new(error::of_status(status));
    let body = serde_json::to_string(&problem).ok()?;
    let reason = status.canonical_reason().unwrap_or_default();
    Some(
        format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: application/problem+json\r\n\
             x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            status.as_u16(),
            body.len()
        )
        .into_bytes(),
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn stream<I>(io: I) -> BoundedStream<I> {
        BoundedStream {
            io,
            _permit: None,
            write_deadline: Duration::from_secs(10),
            stalled: None,
            replacement: Vec::new(),
        }
    }

    #[test]
    fn only_bare_refusals_are_completed() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                     content-length: 0\r\ndate: x\r\n\r\n";
        let completed = String::from_utf8(complete_refusal(bare).unwrap()).unwrap();
        assert!(completed.starts_with("HTTP/1.1 431 "));
        assert!(completed.contains("\"type\":\"/problems/headers-too-large\""));
        for other in [
            &b"HTTP/1.1 404 Not Found\r\nx-request-id: a\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 5\r\n\r\nhello",
            b"4",
            b"",
        ] {
            assert_eq!(complete_refusal(other), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_let_go() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut near = stream(near);
        let started = Instant::now();
        let error = near.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), Duration::from_secs(10));
        // One that reads slowly, but reads, is served.
        far.read_exact(&mut [0; 16]).await.unwrap();
        let (near, mut far) = tokio::io::duplex(16);
        let writer = tokio::spawn(async move { stream(near).write_all(&[0; 64]).await });
        for _ in 0..4 {
            tokio::time::advance(Duration::from_secs(9)).await;
            far.read_exact(&mut [0; 16]).await.unwrap();
        }
        writer.await.unwrap().unwrap();
    }
}
