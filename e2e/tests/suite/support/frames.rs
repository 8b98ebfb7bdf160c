//! A stream of events, as its client reads it.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// One frame that a client is told of.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Empty when it has none.
    pub id: String,
    pub event: String,
    pub data: Value,
}

/// The stream. Dropping it closes the connection.
pub struct Frames {
    answer: reqwest::Response,
    text: String,
}

impl Frames {
    /// Reads an answer, which must be a stream.
    pub fn of(answer: reqwest::Response) -> Result<Self> {
        let status = answer.status();
        ensure!(status == 200, "{status} for a stream");
        let form = answer.headers().get("content-type");
        let form = form.context("no content type")?.to_str()?;
        ensure!(form == "text/event-stream", "{form}");
        Ok(Self {
            answer,
            text: String::new(),
        })
    }

    /// Returns the next frame that is no comment; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let frame = parse(&self.text[..end])?;
                self.text.drain(..end + 2);
                if !frame.event.is_empty() {
                    return Ok(Some(frame));
                }
            } else if let Some(bytes) = self.answer.chunk().await? {
                self.text.push_str(std::str::from_utf8(&bytes)?);
            } else {
                ensure!(self.text.is_empty(), "cut within {:?}", self.text);
                return Ok(None);
            }
        }
    }

    /// Returns the next frame, which must be there.
    pub async fn one(&mut self) -> Result<Frame> {
        self.next().await?.context("the stream has ended")
    }

    /// Returns the next frame with an id.
    pub async fn event(&mut self) -> Result<Frame> {
        loop {
            let frame = self.one().await?;
            if !frame.id.is_empty() {
                return Ok(frame);
            }
        }
    }

    /// Returns everything up to the end.
    pub async fn rest(mut self) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await? {
            frames.push(frame);
        }
        Ok(frames)
    }
}

fn parse(text: &str) -> Result<Frame> {
    let mut frame = Frame {
        id: String::new(),
        event: String::new(),
        data: Value::Null,
    };
    for line in text.lines() {
        let (field, value) = line.split_once(": ").context("a line without a field")?;
        match field {
            "id" => value.clone_into(&mut frame.id),
            "event" => value.clone_into(&mut frame.event),
            "data" => frame.data = serde_json::from_str(value)?,
            _ => {}
        }
    }
    Ok(frame)
}
