//! Prints.
#![expect(
    clippy::print_stdout,
    reason = "printing figures is what this program is for"
)]

use std::time::Duration;

use crate::load::Sample;

pub(crate) fn title(text: &str) {
    println!("\n## {text}\n");
}

/// The command that a reader can type to see the figure again.
pub(crate) fn command(text: &str) {
    println!("$ {text}");
}

pub(crate) fn rate(what: &str, per_second: f64) {
    println!("{what:<44} {per_second:>9.0} /s");
}

pub(crate) fn ratio(what: &str, ratio: f64) {
    println!("{what:<44} {ratio:>9.2}");
}

pub(crate) fn latency(what: &str, sample: &Sample) {
    let ms = |quantile| sample.quantile(quantile).as_secs_f64() * 1000.0;
    let n = sample.len();
    println!(
        "{what:<44} p50 {:.1} ms, p99 {:.1} ms, n = {n}{}",
        ms(0.5),
        ms(0.99),
        match sample.refused {
            0 => String::new(),
            refused => format!(", {refused} refused"),
        }
    );
}

/// As [`latency`], in seconds, with the longest.
pub(crate) fn spread(what: &str, sample: &Sample) {
    let at = |quantile| seconds(sample.quantile(quantile));
    println!(
        "{what:<44} p50 {}, p99 {}, max {}, n = {}",
        at(0.5),
        at(0.99),
        at(1.0),
        sample.len()
    );
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// Prints the processor time of each process; for each 1,000 of `count`, if there is one.
pub(crate) fn cpu(used: &[(&'static str, Duration)], count: usize) {
    let per = match count {
        0 => "",
        _ => " for each 1,000",
    };
    for (name, time) in used {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let thousands = if count == 0 { 1.0 } else { count as f64 / 1e3 };
        let time = time.as_secs_f64() / thousands;
        println!(
            "{:<44} {time:>9.2} s",
            format!("  processor time of {name}{per}")
        );
    }
}

/// Adds up processor times.
pub(crate) fn add(all: &mut Vec<(&'static str, Duration)>, more: Vec<(&'static str, Duration)>) {
    for (name, time) in more {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += time,
            None => all.push((name, time)),
        }
    }
}

pub(crate) fn memory(name: &str, when: &str, bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let mib = bytes as f64 / (1024.0 * 1024.0);
    println!("{:<44} {mib:>9.1} MiB", format!("{name}, {when}"));
}

pub(crate) fn kib(what: &str, bytes: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let kib = bytes as f64 / 1024.0;
    println!("{what:<44} {kib:>9.1} KiB");
}

pub(crate) fn text(what: &str, value: &str) {
    println!("{what:<44} {value:>9}");
}

pub(crate) fn machine() {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    text("cores", &cpus.to_string());
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown", |(_, model)| model);
    text("model", model);
}
