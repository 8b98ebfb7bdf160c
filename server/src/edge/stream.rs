//! One client's connection.
//!
//! Two bounds that hyper does not have: how many connections there are, and how long a client may take
//! to read. Under TLS, where it is spoken: a client that takes a part of a record has made progress.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum_server::accept::Accept;
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::{handshake::Handshakes, refusal::Refusals};

/// Wraps accepted connections.
#[derive(Clone)]
pub(crate) struct Bounded {
    connections: Arc<Semaphore>,
    write_deadline: Duration,
    handshakes: Option<Handshakes>,
}

impl Bounded {
    pub fn new(
        connections: usize,
        write_deadline: Duration,
        handshakes: Option<Handshakes>,
    ) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(connections)),
            write_deadline,
            handshakes,
        }
    }

    fn bound(&self, stream: TcpStream) -> io::Result<BoundedStream<TcpStream>> {
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
            metrics::counter!("http_connections_refused_total").increment(1);
            return Err(io::Error::other("too many connections"));
        };
        // Answers are small: they must not wait for the client's acknowledgement.
        stream.set_nodelay(true)?;
        Ok(BoundedStream {
            io: stream,
            _permit: Some(permit),
            write_deadline: self.write_deadline,
            stalled: None,
        })
    }
}

/// What HTTP is spoken on.
type Spoken = Either<BoundedStream<TcpStream>, Box<TlsStream<BoundedStream<TcpStream>>>>;

impl<S: Send + 'static> Accept<TcpStream, S> for Bounded {
    type Stream = Refusals<Spoken>;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let bounded = self.bound(stream);
        let handshakes = self.handshakes.clone();
        Box::pin(async move {
            let stream = match handshakes {
                Some(handshakes) => Either::Right(Box::new(handshakes.shake(bounded?).await?)),
                None => Either::Left(bounded?),
            };
            Ok((Refusals::on(stream), service))
        })
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
}

impl BoundedStream<TcpStream> {
    /// Waits for the first byte and leaves it where it is; `None` if the client goes away instead.
    pub async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut first = [0];
        let read = self.io.peek(&mut first).await?;
        Ok(first.first().copied().filter(|_| read > 0))
    }
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
        let poll = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watch(poll, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_flush(cx);
        self.watch(poll, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.io).poll_shutdown(cx);
        self.watch(poll, cx)
    }
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
