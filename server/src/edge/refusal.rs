//! hyper's own refusals.
//!
//! hyper answers a request that it cannot parse by a bare status line; that is completed to a problem
//! document here.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use vmctl_api_types::Problem;

use crate::error;

/// A connection on which bare refusals are completed.
#[derive(Debug)]
pub(crate) struct Refusals<I> {
    io: I,
    /// What is written in place of a bare refusal.
    replacement: Vec<u8>,
}

impl<I> Refusals<I> {
    pub fn on(io: I) -> Self {
        Self {
            io,
            replacement: Vec::new(),
        }
    }
}

impl<I: AsyncWrite + Unpin> Refusals<I> {
    fn write_replacement(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.replacement.is_empty() {
            match ready!(Pin::new(&mut self.io).poll_write(cx, &self.replacement))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => drop(self.replacement.drain(..n)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Refusals<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Refusals<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.write_replacement(cx))?;
        if let Some(completed) = complete_refusal(bytes) {
            self.replacement = completed;
            // It is taken over; the flush that follows writes it.
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_replacement(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write_replacement(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
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
    let status = StatusCode::from_u16(400 + digits.parse::<u16>().ok()?).ok()?;
    let problem = Problem::new(error::of_status(status));
    answer(status, &problem)
}

/// Writes an answer that ends its connection, for where there is no request.
pub(super) fn answer(status: StatusCode, problem: &Problem) -> Option<Vec<u8>> {
    let body = serde_json::to_string(problem).ok()?;
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
    use super::*;

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
}
