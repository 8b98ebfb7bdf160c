//! Declaring the topology, or waiting for those who do.

use std::sync::Arc;

use vmctl_core::{
    bus::{BusError, TopologyAdmin},
    error::chain,
    topology::Topology,
};

use crate::{Backoff, status::StatusWatch};

const NOT_YET: &str = "the topology is not declared yet";

/// Declares the topology, and has readiness tell why it is not there.
pub(crate) struct Declaring {
    pub(crate) admin: Arc<dyn TopologyAdmin>,
    pub(crate) topology: Topology,
    pub(crate) status: StatusWatch,
}

impl Declaring {
    /// Declares as much as the broker lets us declare. Waits for a broker.
    ///
    /// # Errors
    ///
    /// [`BusError::Drift`]: what is there has another form.
    pub(crate) async fn declare(&self) -> Result<(), BusError> {
        let mut backoff = Backoff::default();
        self.status
            .update(|status| status.undeclared = Some(NOT_YET.to_owned()));
        loop {
            match self.attempt().await {
                Ok(()) | Err(BusError::Absent(_)) => return Ok(()),
                Err(error @ BusError::Drift(_)) => return Err(error),
                Err(_) => backoff.wait().await,
            }
        }
    }

    /// Waits until others have declared what is absent.
    pub(crate) async fn wait_for_the_rest(&self) {
        let mut backoff = Backoff::default();
        while self.status.get().undeclared.is_some() {
            backoff.wait().await;
            // Why not is told by readiness.
            let _ = self.attempt().await;
        }
    }

    async fn attempt(&self) -> Result<(), BusError> {
        let declared = self.admin.declare(&self.topology).await;
        let why = declared.as_ref().err();
        let why = why.map(|error| format!("{NOT_YET}: {}", chain(error)));
        self.status.update(|status| {
            if let Some(why) = &why
                && status.undeclared.as_ref() != Some(why)
            {
                tracing::warn!("{why}");
            }
            status.undeclared = why;
        });
        declared
    }
}
