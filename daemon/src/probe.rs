//! `health`: asks the process that runs with these settings how it is.
//!
//! For images that have no shell and no HTTP client. It reads the settings as the daemon does, so that it
//! asks at the right address, and needs none of the secrets.
//!
//! Where listeners speak TLS it takes any certificate: that of the process has the names by which others call
//! it, and may have been replaced in its file a moment ago. The address is one of this machine's own, and the
//! question tells nothing.

mod any;

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Arg, ArgMatches, Command};

use crate::settings::{Listen, Values};

/// What can be asked.
const PROBES: [&str; 3] = ["live", "ready", "startup"];
/// A process that works answers its probes at once.
const DEADLINE: Duration = Duration::from_secs(3);
/// More than any report has.
const MAX_ANSWER: u64 = 64 * 1024;

/// The command as it stands in the help.
pub(crate) fn command() -> Command {
    Command::new("health")
        .about("Ask the running process how it is: exit code 0 if it is well, 1 if not")
        .arg(
            Arg::new("probe")
                .value_parser(PROBES)
                .default_value("ready")
                .help("What to ask"),
        )
}

/// Asks, and returns the report if all is well.
///
/// # Errors
///
/// With the report if it is not, or why there is none.
pub(crate) fn ask(args: &ArgMatches, values: &Values) -> anyhow::Result<String> {
    let probe: &String = args.get_one("probe").context("no probe")?;
    let address = reachable(address(values)?);
    let tls = values.get::<Option<PathBuf>>("tls.cert_file")?.is_some();
    let answer = get(address, probe, tls).with_context(|| format!("no answer from {address}"))?;
    let (head, report) = answer
        .split_once("\r\n\r\n")
        .context("the answer is no HTTP")?;
    let status = head.split(' ').nth(1).context("the answer is no HTTP")?;
    ensure!(status == "200", "{}", report.trim_end());
    Ok(format!("{}\n", report.trim_end()))
}

/// Returns where the process serves its probes: an address of their own, or that of the API.
fn address(values: &Values) -> anyhow::Result<SocketAddr> {
    let declared = |key| values.settings().iter().any(|setting| setting.key == key);
    if !declared("health.listen") {
        return Ok(values.get("listen")?);
    }
    match values.get("health.listen")? {
        Listen::On(address) => Ok(address),
        Listen::Off => bail!("VMCTL_HEALTH_LISTEN is off: there is nothing to ask"),
    }
}

/// Returns the loopback address instead of one that stands for all addresses.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

fn get(address: SocketAddr, probe: &str, tls: bool) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    if tls {
        let mut stream = any::secure(stream, address.ip()).map_err(io::Error::other)?;
        return exchange(&mut stream, address, probe);
    }
    exchange(&mut &stream, address, probe)
}

fn exchange(
    stream: &mut (impl Read + Write),
    address: SocketAddr,
    probe: &str,
) -> io::Result<String> {
    write!(
        stream,
        "GET /health/{probe} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_asked_at_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.7:80", "10.0.0.7:80"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
