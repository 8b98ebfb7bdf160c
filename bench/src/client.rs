//! The client: its size, and how long it takes to say `--help`.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};

use crate::{load::Sample, report};

const TIMES: usize = 50;

pub(crate) fn measure(path: &Path) -> Result<()> {
    report::title("The client");
    let bytes = fs::metadata(path)
        .with_context(|| format!("{} is not built", path.display()))?
        .len();
    report::memory("stripped binary (limit: 10 MB)", "size", bytes);
    report::command(&format!("{} --help, {TIMES} times", path.display()));
    let mut times = Vec::new();
    let all = Instant::now();
    for _ in 0..TIMES {
        let started = Instant::now();
        let status = Command::new(path)
            .arg("--help")
            .stdout(Stdio::null())
            .status()?;
        ensure!(status.success(), "--help failed");
        times.push(started.elapsed());
    }
    let sample = Sample::of(times, all.elapsed());
    report::latency("--help, process start included (aim: 5 ms)", &sample);
    Ok(())
}
