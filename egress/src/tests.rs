//! The deny list, row by row, and what texts can hide.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Mutex,
};

use async_trait::async_trait;
use proptest::prelude::*;

use super::*;

/// Answers each question with the next of its lists; the last one repeats.
struct Flipping(Mutex<Vec<Vec<IpAddr>>>);

#[async_trait]
impl Resolver for Flipping {
    async fn resolve(&self, _: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let mut answers = self.0.lock().unwrap();
        if answers.len() > 1 {
            return Ok(answers.remove(0));
        }
        Ok(answers[0].clone())
    }
}

fn answering(answers: &[&[&str]]) -> Guard {
    let read = |texts: &&[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    let answers = answers.iter().map(read).collect();
    Guard::with_resolver(Policy::default(), Arc::new(Flipping(Mutex::new(answers))))
}

/// First and last address of each network of the list, and its neighbours where those are public.
const DENIED: [&str; 59] = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.255",
    "192.0.2.1",
    "168.63.129.16",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:1ff:ffff::",
    "2001:db8::1",
    "2001:db8:ffff::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "3fff::1",
    "3fff:fff::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fd00:ec2::254",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "feff::1",
    "ff02::1",
    "ff0e::1",
    "4000::1",
    "1fff::1",
    "2620:4f:8000::1",
];

const PUBLIC: [&str; 18] = [
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "198.17.255.255",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "2001:200::1",
    "2606:4700::1111",
    "2a00:1450::1",
    "3ffe::1",
];

#[test]
fn every_row_of_the_list_is_refused_and_its_neighbours_are_not() {
    for text in DENIED {
        assert!(!networks::is_public(text.parse().unwrap()), "{text}");
        assert!(!Guard::default().may_call(text.parse().unwrap()), "{text}");
    }
    for text in PUBLIC {
        assert!(networks::is_public(text.parse().unwrap()), "{text}");
    }
}

#[test]
fn h6_texts_that_hide_an_address_are_refused() {
    use Refusal::{Address, Ambiguous, Fragment, Malformed, Port, Scheme, TooLong, UserInfo};
    let long = format!("https://r.example/{}", "x".repeat(MAX_LENGTH));
    for (text, refusal) in [
        ("https://127.0.0.1/", Address),
        ("https://127.1/", Ambiguous),
        ("https://0x7f000001/", Ambiguous),
        ("https://0x7f.1/", Ambiguous),
        ("https://2130706433/", Ambiguous),
        ("https://017700000001/", Ambiguous),
        ("https://0177.0.0.1/", Ambiguous),
        ("https://0/", Ambiguous),
        ("https://0.0.0.0/", Address),
        ("https://10.1/", Ambiguous),
        ("https://169.254.169.254/latest/meta-data", Address),
        ("https://%31%32%37.0.0.1/", Ambiguous),
        ("https://127.0.0.1./", Ambiguous),
        ("https://[::1]/", Address),
        ("https://[::]/", Address),
        ("https://[::ffff:7f00:1]/", Address),
        ("https://[::ffff:127.0.0.1]/", Address),
        ("https://[64:ff9b::7f00:1]/", Address),
        ("https://[2002:7f00:1::]/", Address),
        ("https://[fe80::1]/", Address),
        ("https://010.8.8.8/", Ambiguous),
        ("https://8.8.2056/", Ambiguous),
        ("https://%6cocalhost/", Ambiguous),
        ("https://localhost/", Address),
        ("https://localhost./", Address),
        ("https://LOCALHOST/", Address),
        ("https://a.localhost/", Address),
        ("https://\u{ff11}27.0.0.1/", Ambiguous),
        ("https://\u{2460}27.0.0.1/", Ambiguous),
        ("https://bücher.example/", Ambiguous),
        ("https://r.example\\@127.0.0.1/", Ambiguous),
        ("https:\\\\127.0.0.1/", Ambiguous),
        ("https://r.example/\n", Ambiguous),
        ("https://r.exa\tmple/", Ambiguous),
        (" https://r.example/", Ambiguous),
        ("https://joe@r.example/", UserInfo),
        ("https://joe:1234@r.example/", UserInfo),
        ("https://:@r.example/", UserInfo),
        ("https://@r.example/", UserInfo),
        ("https://r.example/#x", Fragment),
        ("https://r.example/#", Fragment),
        ("http://r.example/", Scheme),
        ("ftp://r.example/", Scheme),
        ("file:///etc/passwd", Scheme),
        ("gopher://r.example/", Scheme),
        ("https://r.example:22/", Port),
        ("https://r.example:80/", Port),
        ("https://r.example:0/", Port),
        ("https://r.example:65536/", Malformed),
        ("https://[fe80::1%25eth0]/", Malformed),
        ("https://", Malformed),
        ("//r.example/", Malformed),
        ("r.example", Malformed),
        ("", Malformed),
        (&long, TooLong),
    ] {
        assert_eq!(Guard::default().read(text), Err(refusal), "{text}");
    }
}

const MAX_LENGTH: usize = policy::MAX_URL;

#[test]
fn good_texts_are_read() {
    for (text, url) in [
        ("https://r.example", "https://r.example/"),
        ("HTTPS://R.Example:443/a?b=c", "https://r.example/a?b=c"),
        ("https://r.example:8443/@x", "https://r.example:8443/@x"),
        ("https://1.1.1.1/", "https://1.1.1.1/"),
        (
            "https://xn--bcher-kva.example/",
            "https://xn--bcher-kva.example/",
        ),
    ] {
        let target = Guard::default().read(text).unwrap();
        assert_eq!(target.url().as_str(), url);
    }
}

#[test]
fn the_operator_may_allow_networks_ports_and_http() {
    let policy = Policy {
        allow_http: true,
        ports: vec![9000],
        allow_networks: vec!["10.1.0.0/16".parse().unwrap(), "fd00::1".parse().unwrap()],
    };
    let guard = Guard::new(policy);
    for text in [
        "http://10.1.2.3/",
        "http://10.1.2.3:9000/",
        "http://[::ffff:10.1.2.3]/",
        "http://[fd00::1]/",
    ] {
        assert!(guard.read(text).is_ok(), "{text}");
    }
    for text in ["http://10.2.0.1/", "http://[fd00::2]/", "http://127.0.0.1/"] {
        assert_eq!(guard.read(text), Err(Refusal::Address), "{text}");
    }
    assert_eq!(guard.read("https://1.1.1.1:8443/"), Err(Refusal::Port));
    assert!("10.0.0.0/33".parse::<Network>().is_err());
}

#[test]
fn an_address_of_this_machine_is_its_own() {
    assert!(is_own(Ipv4Addr::LOCALHOST.into()));
    assert!(!is_own(Ipv4Addr::new(1, 1, 1, 1).into()));
}

#[tokio::test]
async fn one_private_address_among_public_ones_is_enough() {
    for (addresses, expected) in [
        (&["1.1.1.1", "2606:4700::1111"][..], Ok(2)),
        (&["1.1.1.1", "127.0.0.1"], Err(GuardError::Forbidden)),
        (&["::ffff:10.0.0.1"], Err(GuardError::Forbidden)),
        (&[], Err(GuardError::Unresolved(ResolveError::NotFound))),
    ] {
        let found = answering(&[addresses]).resolve("r.example").await;
        assert_eq!(found.map(|all| all.len()), expected, "{addresses:?}");
    }
}

#[tokio::test]
async fn h5_a_name_that_leads_elsewhere_later_is_refused_then() {
    let guard = answering(&[&["1.1.1.1"], &["127.0.0.1"]]);
    assert!(guard.check("https://r.example/").await.is_ok());
    assert_eq!(guard.resolve("r.example").await, Err(GuardError::Forbidden));
}

#[tokio::test]
async fn the_systems_resolver_knows_this_machine_and_no_invalid_name() {
    let resolver = SystemResolver::default();
    let found = resolver.resolve("localhost").await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback), "{found:?}");
    assert!(resolver.resolve("nothing.invalid").await.is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever form an IPv4 address takes, it is as public as it is.
    #[test]
    fn forms_of_an_address_are_judged_alike(bits in any::<u32>()) {
        let v4 = Ipv4Addr::from(bits);
        let public = networks::is_public(v4.into());
        prop_assert_eq!(networks::is_public(v4.to_ipv6_mapped().into()), public);
        let read = Guard::default().read(&format!("https://{v4}/"));
        prop_assert_eq!(read.is_ok(), public && !is_own(v4.into()), "{}", v4);
        for text in [format!("https://{bits}/"), format!("https://0x{bits:x}/"), format!("https://0{bits:o}/")] {
            let read = Guard::default().read(&text);
            prop_assert_eq!(read.err(), Some(Refusal::Ambiguous), "{}", text);
        }
    }

    /// Nothing that std knows not to be reachable is public.
    #[test]
    fn what_is_public_is_global(bits in any::<u128>(), v4 in any::<u32>()) {
        let v6 = Ipv6Addr::from(bits);
        if networks::is_public(v6.into()) {
            prop_assert!(!v6.is_loopback() && !v6.is_multicast() && !v6.is_unique_local());
            prop_assert!(!v6.is_unicast_link_local() && !v6.is_unspecified());
        }
        let v4 = Ipv4Addr::from(v4);
        if networks::is_public(v4.into()) {
            prop_assert!(!v4.is_loopback() && !v4.is_private() && !v4.is_link_local());
            prop_assert!(!v4.is_multicast() && !v4.is_broadcast() && !v4.is_documentation());
        }
    }
}
