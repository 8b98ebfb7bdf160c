//! What the simulated provisioner did: its effect log, which is not the suite's own opinion.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// The phases that leave a trace: those after the machine begins to exist.
const TRACED: [&str; 5] = ["storage", "define", "start", "boot", "ready"];

/// One line of the log.
#[derive(Debug)]
pub struct Effect {
    pub job: String,
    pub phase: String,
    pub what: String,
    pub pid: u64,
}

/// Reads the log; a machine that was never touched has none.
pub fn effects(machines: &Path) -> Result<Vec<Effect>> {
    let path = machines.join("effects.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path)?;
    // The last line may be one that is being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(effect).collect()
}

fn effect(line: &str) -> Result<Effect> {
    let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
    let text = |name: &str| {
        let value = line[name].as_str();
        value.map(str::to_owned).with_context(|| line.to_string())
    };
    Ok(Effect {
        job: text("job")?,
        phase: text("phase")?,
        what: text("what")?,
        pid: line["pid"].as_u64().context("no pid")?,
    })
}

/// Checks that each of these jobs made one machine, went through each phase once, and that nothing
/// else was made.
pub fn one_machine_each(machines: &Path, jobs: &[String]) -> Result<()> {
    let mut made: BTreeMap<&str, u32> = BTreeMap::new();
    let mut ended: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let effects = effects(machines)?;
    for Effect {
        job, phase, what, ..
    } in &effects
    {
        match what.as_str() {
            "effect" => *made.entry(job).or_default() += 1,
            "end" => *ended.entry((job, phase)).or_default() += 1,
            _ => {}
        }
    }
    let wanted: BTreeSet<&str> = jobs.iter().map(String::as_str).collect();
    ensure!(
        wanted.len() == jobs.len(),
        "an id was given twice: {jobs:?}"
    );
    ensure!(
        made.keys().copied().collect::<BTreeSet<_>>() == wanted,
        "machines of {made:?}, jobs {wanted:?}"
    );
    ensure!(made.values().all(|n| *n == 1), "made twice: {made:?}");
    for job in wanted {
        for phase in TRACED {
            let times = ended.get(&(job, phase)).copied().unwrap_or(0);
            ensure!(times == 1, "{job}: {phase} ended {times} times");
        }
    }
    let files = fs::read_dir(machines.join("machines"))?.count();
    ensure!(files == jobs.len(), "{files} machines, {} jobs", jobs.len());
    Ok(())
}
