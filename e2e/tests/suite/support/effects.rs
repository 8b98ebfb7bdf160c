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

/// The phase and the word of a line.
type Line = (&'static str, &'static str);

/// The line that says that a machine was made.
const MADE: Line = ("storage", "effect");

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
    let lines = count(machines, jobs)?;
    for job in jobs {
        for what in TRACED.map(|phase| (phase, "end")).iter().chain(&[MADE]) {
            let times = lines.get(&(job.clone(), *what)).copied().unwrap_or(0);
            ensure!(times == 1, "{job}: {what:?} {times} times");
        }
    }
    Ok(())
}

/// The same where workers were killed: a line is written after what it tells, so that the last one
/// of a killed worker may be missing. The machines are all there, and nothing was done twice.
pub fn one_machine_each_despite_kills(machines: &Path, jobs: &[String]) -> Result<()> {
    count(machines, jobs).map(drop)
}

/// Counts the lines that may be there once, and checks that they are; and that there are the
/// machines of these jobs, finished, and no others.
fn count(machines: &Path, jobs: &[String]) -> Result<BTreeMap<(String, Line), u32>> {
    let mut lines = BTreeMap::new();
    for effect in effects(machines)? {
        let phase = TRACED.iter().find(|phase| **phase == effect.phase);
        let line = match effect.what.as_str() {
            "effect" => MADE,
            "end" => (*phase.with_context(|| format!("{effect:?}"))?, "end"),
            "start" => continue,
            _ => anyhow::bail!("unexpected: {effect:?}"),
        };
        *lines.entry((effect.job, line)).or_default() += 1;
    }
    ensure!(
        lines.values().all(|times| *times == 1),
        "done twice: {lines:?}"
    );
    let wanted: BTreeSet<_> = jobs.iter().cloned().collect();
    ensure!(
        wanted.len() == jobs.len(),
        "an id was given twice: {jobs:?}"
    );
    let mut finished = BTreeSet::new();
    for entry in fs::read_dir(machines.join("machines"))? {
        let path = entry?.path();
        let machine: Value = serde_json::from_slice(&fs::read(&path)?)?;
        ensure!(machine["on"] == true, "not finished: {machine}");
        let name = path.file_stem().and_then(|name| name.to_str());
        finished.insert(name.context("no name")?.to_owned());
    }
    ensure!(
        finished == wanted,
        "machines of {finished:?}, jobs {wanted:?}"
    );
    Ok(lines)
}
