//! The links of a server to its services over TLS: good ones work, and all others are refused, with the reason and
//! before anything is said.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use reqwest::Url;
use vmctl_daemon::testing::{Authority, Identity};

use crate::support::{
    api::Api,
    environment::var,
    process::Process,
    relay::Relay,
    suite::{DRAIN, Suite},
    wait::within,
};

/// What is said after this has taken too long: every attempt to connect has a bound of its own.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);
/// The type of a record of the TLS handshake: RFC 8446, section 5.1.
const HANDSHAKE: u8 = 22;

/// One link: the check of readiness that is about it, and what stands before the service.
struct Link {
    check: &'static str,
    setting: &'static str,
    scheme: &'static str,
    service: Url,
    relay: Relay,
}

/// Puts a relay before each service.
async fn links(suite: &Suite, shown: Option<&Identity>) -> Result<Vec<Link>> {
    let keystone = var("VMCTL_KEYSTONE_URL")?;
    let mut links = Vec::new();
    for (check, setting, scheme, service) in [
        ("bus", "VMCTL_AMQP_URL", "amqps", suite.vhost.url.clone()),
        ("store", "VMCTL_REDIS_URL", "rediss", suite.redis.url()),
        ("identity", "VMCTL_KEYSTONE_URL", "https", keystone),
    ] {
        let service: Url = service.parse()?;
        let relay = Relay::before(&service, shown).await?;
        links.push(Link {
            check,
            setting,
            scheme,
            service,
            relay,
        });
    }
    Ok(links)
}

/// Starts a server whose links go through the relays.
async fn start(suite: &mut Suite, links: &[Link]) -> Result<Process> {
    for link in links {
        let url = link.relay.url(&link.service, link.scheme)?;
        suite.set(link.setting, url);
    }
    suite.start("server").await
}

#[tokio::test]
async fn links_whose_peer_is_vouched_for_work() -> Result<()> {
    let Some(mut suite) = Suite::new("tls-good").await? else {
        return Ok(());
    };
    let ours = Authority::new("ours");
    suite.trust(&ours)?;
    let links = links(&suite, Some(&ours.issue(&["127.0.0.1"]))).await?;
    let server = start(&mut suite, &links).await?;
    suite.probe(&server, "ready", 200).await?;
    suite
        .user(&server)
        .await?
        .get("/v1/jobs")
        .await?
        .expect(200)?;
    let report = suite.report(&server, "ready").await?;
    for link in links {
        let said = link.relay.said();
        ensure!(!said.is_empty(), "{}: nothing went through", link.check);
        let check = format!("\"{}\":{{\"status\":\"ok\"}}", link.check);
        ensure!(report.contains(&check), "{check} is not in {report}");
    }
    server.stop(DRAIN).await
}

#[tokio::test]
async fn any_other_peer_is_refused_with_the_reason_and_told_nothing() -> Result<()> {
    let Some(mut suite) = Suite::new("tls-bad").await? else {
        return Ok(());
    };
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    suite.trust(&ours)?;
    let here = ["127.0.0.1"];
    for (case, shown, reasons) in [
        ("expired", Some(ours.issue_expired(&here)), &["expired"][..]),
        (
            "wrong name",
            Some(ours.issue(&["127.0.0.2"])),
            &["not valid for"],
        ),
        (
            "unknown authority",
            Some(theirs.issue(&here)),
            &["UnknownIssuer"],
        ),
        (
            "plain",
            None,
            // A server that waits for the rest of what it takes for a request says nothing.
            &[
                "InvalidContentType",
                "speak TLS?",
                "eof",
                "EOF",
                "timed out",
            ],
        ),
    ] {
        let links = links(&suite, shown.as_ref()).await?;
        let started = Instant::now();
        let server = start(&mut suite, &links).await?;
        let api = Api::new(&suite.http, &server, "a-token-that-nobody-should-see");
        api.get("/v1/jobs").await?.expect(503)?;
        for link in &links {
            let left = REFUSED_WITHIN.saturating_sub(started.elapsed());
            let what = format!("{case}: {} says why", link.check);
            within(left, &what, async || {
                let report = suite.report(&server, "ready").await;
                let report = report.map_err(|error| format!("{error:#}"))?;
                let reason = reason(&report, link.check).ok_or_else(|| report.clone())?;
                let told = reasons.iter().any(|known| reason.contains(known));
                told.then_some(()).ok_or(reason)
            })
            .await?;
            told_nothing(link, shown.is_some())
                .with_context(|| format!("{case}: {}", link.check))?;
        }
        let log = server.log()?;
        for link in &links {
            ensure!(log.contains(link.check), "{case}: {log}");
        }
        let told = reasons.iter().any(|known| log.contains(known));
        ensure!(told, "{case}: the log does not say why: {log}");
        server.stop(DRAIN).await?;
    }
    Ok(())
}

/// Returns what the report says of a check that is not well.
fn reason(report: &str, check: &str) -> Option<String> {
    let report: serde_json::Value = serde_json::from_str(report).ok()?;
    Some(report["checks"][check]["reason"].as_str()?.to_owned())
}

/// Makes sure that a peer that is refused has got nothing but the beginning of a handshake.
fn told_nothing(link: &Link, tls: bool) -> Result<()> {
    let said = link.relay.said();
    if tls {
        ensure!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
        return Ok(());
    }
    ensure!(said.first() == Some(&HANDSHAKE), "{said:?}");
    let secrets = [
        "AMQP".to_owned(),
        "HTTP".to_owned(),
        "INFO".to_owned(),
        "a-token-that".to_owned(),
        var("VMCTL_KEYSTONE_PASSWORD")?,
        link.service.password().unwrap_or("no password").to_owned(),
    ];
    for secret in secrets {
        let found = said
            .windows(secret.len())
            .any(|part| part == secret.as_bytes());
        ensure!(!found, "{secret} was said");
    }
    Ok(())
}
