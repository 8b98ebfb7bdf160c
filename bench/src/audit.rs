//! What the audit costs: one server whose entries go to the log, and one that throws them away, in
//! turns under the same load.

use std::{path::Path, time::Duration};

use anyhow::Result;

use crate::{
    load::{self, Sample},
    programs::{Setup, Suite},
    report,
};

const CLIENTS: usize = 64;

/// Turns of each server.
const TURNS: u32 = 3;

/// How long one client submits, for the latency.
const ALONE: Duration = Duration::from_secs(1);

/// One of the two servers, and what it did.
struct Side {
    what: &'static str,
    suite: Suite,
    tokens: [String; 1],
    alone: Sample,
    many: Sample,
    cpu: Vec<(&'static str, Duration)>,
}

impl Side {
    async fn start(bin: &Path, what: &'static str, audited: bool) -> Result<Self> {
        let name = if audited { "audit" } else { "no-audit" };
        let suite = Suite::start(
            bin,
            Setup {
                name,
                audited: Some(audited),
                ..Setup::default()
            },
        );
        let suite = suite.await?;
        Ok(Self {
            what,
            tokens: [suite.login().await?],
            suite,
            alone: Sample::default(),
            many: Sample::default(),
            cpu: Vec::new(),
        })
    }

    async fn turn(&mut self, span: Duration) -> Result<()> {
        let endpoint = &self.suite.endpoint;
        self.alone
            .join(load::submit_to(endpoint, &self.tokens, 1, ALONE).await?);
        let before = self.suite.cpu()?;
        self.many
            .join(load::submit_to(endpoint, &self.tokens, CLIENTS, span).await?);
        report::add(&mut self.cpu, before.since());
        Ok(())
    }
}

pub(crate) async fn measure(bin: &Path, span: Duration) -> Result<()> {
    report::title("Audit: the same server with and without its entries, in turns, no worker");
    report::command(&format!(
        "{TURNS} turns each: POST /v1/jobs, one client, then {CLIENTS}"
    ));
    let mut sides = [
        Side::start(bin, "with audit entries", true).await?,
        Side::start(bin, "without", false).await?,
    ];
    for _ in 0..TURNS {
        for side in &mut sides {
            side.turn(span / TURNS).await?;
        }
    }
    for side in &sides {
        let what = side.what;
        report::rate(&format!("{what}: accepted"), side.many.per_second());
        report::latency("  answer, 64 clients", &side.many);
        report::latency("  answer, one client", &side.alone);
        report::cpu(&side.cpu, side.many.len());
    }
    let [with, without] = &sides;
    report::ratio(
        "accepted with / without",
        with.many.per_second() / without.many.per_second(),
    );
    for side in sides {
        side.suite.stop().await?;
    }
    Ok(())
}
