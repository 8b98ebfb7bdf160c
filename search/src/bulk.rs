//! Documents go in, many at a time.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client::{Body, Cluster, SearchError, words},
    document::Document,
    setup::Flavour,
};

/// Most documents of one request.
pub const MOST_DOCUMENTS: usize = 1_000;

/// Most bytes of one request, before compression; the products take 100 MB.
pub const MOST_BYTES: usize = 5 * 1024 * 1024;

/// Bytes of a document's first line, and of its line ends.
const AROUND: usize = 256;

/// Time for one request.
const WITHIN: Duration = Duration::from_secs(30);

/// What became of the documents of one request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Created.
    pub indexed: usize,
    /// There already: sent before, and the answer or the position was lost.
    pub present: usize,
    /// Refused for what they are, with the type of the error. They are refused again.
    pub refused: Vec<(Uuid, String)>,
    /// Not taken now.
    pub again: Vec<Document>,
    /// Whether the data stream is gone: it must be made anew first.
    pub gone: bool,
}

impl Cluster {
    /// Sends documents, and says what became of each.
    ///
    /// # Errors
    ///
    /// When that is not known of any of them; all may be sent again.
    pub async fn send(
        &self,
        documents: Vec<Document>,
        flavour: Flavour,
    ) -> Result<Sent, SearchError> {
        let lines = Body::Lines(self.lines(&documents));
        // Where it can be said: an index that a cluster makes by itself has the wrong fields.
        let query: &[_] = match flavour {
            Flavour::Lifecycle => &[("require_data_stream", "true")],
            Flavour::Ilm | Flavour::OpenSearch => &[],
        };
        let answer = self.call(Method::POST, &["_bulk"], query, lines, WITHIN);
        let answer = answer.await.map_err(SearchError::without_reason)?;
        let items = answer["items"].as_array();
        let items = items.filter(|items| items.len() == documents.len());
        let items = items.ok_or(SearchError::Unreadable)?;
        let mut sent = Sent::default();
        for (document, item) in documents.into_iter().zip(items) {
            sent.add(document, &item["create"]);
        }
        Ok(sent)
    }

    fn lines(&self, documents: &[Document]) -> Vec<u8> {
        let mut lines = Vec::with_capacity(documents.iter().map(size).sum());
        for document in documents {
            let action = json!({"create": {"_index": self.name.as_str(), "_id": document.id}});
            lines.extend_from_slice(action.to_string().as_bytes());
            lines.push(b'\n');
            lines.extend_from_slice(&document.line);
            lines.push(b'\n');
        }
        lines
    }
}

impl Sent {
    /// Only 400 is about the document itself. Whatever else is wrong may pass: no room on a disk, a
    /// right that is missing, an index that somebody has closed.
    fn add(&mut self, document: Document, item: &Value) {
        let kind = item["error"]["type"].as_str().unwrap_or_default();
        match item["status"].as_u64() {
            Some(200..=299) => self.indexed += 1,
            Some(409) => self.present += 1,
            Some(400) if kind != "index_closed_exception" => {
                self.refused.push((document.id, words(kind)));
            }
            status => {
                self.gone |= status == Some(404);
                self.again.push(document);
            }
        }
    }
}

fn size(document: &Document) -> usize {
    document.line.len() + AROUND
}

/// Cuts documents so that no piece has more than so many bytes, or one document.
pub fn pieces(documents: Vec<Document>, bytes: usize) -> Vec<Vec<Document>> {
    let mut pieces: Vec<Vec<Document>> = Vec::new();
    let mut room = 0;
    for document in documents {
        let size = size(&document);
        match pieces.last_mut() {
            Some(last) if size <= room && last.len() < MOST_DOCUMENTS => {
                room -= size;
                last.push(document);
            }
            _ => {
                room = bytes.saturating_sub(size);
                pieces.push(vec![document]);
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(bytes: usize) -> Document {
        Document {
            id: Uuid::nil(),
            line: vec![b'x'; bytes],
        }
    }

    #[test]
    fn requests_are_bounded_in_number_and_bytes() {
        let lengths = |sizes: Vec<usize>, bytes| -> Vec<usize> {
            let documents = sizes.into_iter().map(document).collect();
            pieces(documents, bytes).iter().map(Vec::len).collect()
        };
        assert_eq!(lengths(vec![], 1_000), [0_usize; 0]);
        assert_eq!(lengths(vec![100, 100, 100], 1_000), [2, 1]);
        assert_eq!(lengths(vec![5_000, 1, 1], 1_000), [1, 2]);
        assert_eq!(lengths(vec![0; 2_500], usize::MAX), [1_000, 1_000, 500]);
    }

    #[test]
    fn only_what_is_wrong_with_a_document_gives_it_up() {
        let mut sent = Sent::default();
        for (status, kind) in [
            (201, ""),
            (409, "version_conflict_engine_exception"),
            (400, "document_parsing_exception"),
            (400, "index_closed_exception"),
            (403, "cluster_block_exception"),
            (404, "index_not_found_exception"),
            (429, "es_rejected_execution_exception"),
            (503, "unavailable_shards_exception"),
        ] {
            sent.add(
                document(1),
                &json!({"status": status, "error": {"type": kind}}),
            );
        }
        sent.add(document(1), &Value::Null);
        assert_eq!((sent.indexed, sent.present), (1, 1));
        assert_eq!(
            sent.refused,
            [(Uuid::nil(), "document_parsing_exception".to_owned())]
        );
        assert_eq!((sent.again.len(), sent.gone), (6, true));
    }
}
