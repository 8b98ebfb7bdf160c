//! How far the log is in the data stream.
//!
//! It is kept beside the documents: whoever loses them loses it too, and begins anew.

use jiff::Timestamp;
use serde_json::{Value, json};
use vmctl_core::store::Position;

use crate::client::{Body, Cluster, SearchError};

/// The id of the one document.
const ID: &str = "log";

impl Cluster {
    /// Reads the position; `None` when there is none yet.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub async fn position(&self) -> Result<Option<Position>, SearchError> {
        let index = self.name.position();
        match self.get(&[&index, "_doc", ID]).await {
            Ok(found) => Ok(read(&found["_source"])),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the position: every entry up to it was taken.
    ///
    /// # Errors
    ///
    /// When it may not be written.
    pub async fn set_position(
        &self,
        position: &Position,
        now: Timestamp,
    ) -> Result<(), SearchError> {
        let index = self.name.position();
        let body = json!({"offset": position.offset, "id": position.id, "updated": now});
        self.put(&[&index, "_doc", ID], Body::Json(body)).await?;
        Ok(())
    }
}

/// What nobody of ours has written is no position.
fn read(source: &Value) -> Option<Position> {
    Some(Position {
        offset: source["offset"].as_u64()?,
        id: source["id"].as_str()?.to_owned(),
    })
}
