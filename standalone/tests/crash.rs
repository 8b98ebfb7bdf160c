//! Killed under load, again and again: what was promised is done, once.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::StatusCode;
use serde_json::Value;
use support::{Caller, eventually, free_address, start};
use tokio::task::JoinSet;

/// How often it is killed.
const KILLS: usize = 10;
/// Promises in a round, before it is killed.
const PROMISES: usize = 40;
/// Who ask at the same time.
const CALLERS: usize = 8;

/// What was promised: the job of each key.
type Ledger = Arc<Mutex<BTreeMap<String, String>>>;

/// Submits until the standalone is gone; returns the keys whose outcome is not known.
async fn submit(caller: Caller, ledger: Ledger, keys: Arc<AtomicUsize>) -> Vec<String> {
    loop {
        let key = format!("lx{}", keys.fetch_add(1, Ordering::Relaxed));
        match caller.create(&key).await {
            Some((StatusCode::ACCEPTED, body, _)) => {
                let id = body["id"].as_str().unwrap().to_owned();
                ledger.lock().unwrap().insert(key, id);
            }
            Some((StatusCode::SERVICE_UNAVAILABLE, ..)) => {}
            Some((status, body, _)) => panic!("{status}: {body}"),
            None => return vec![key],
        }
    }
}

/// Looks at everything that was promised, until each is there; nothing is ever unknown.
async fn look_at_all(caller: &Caller, ledger: &Ledger) -> usize {
    let ids: Vec<_> = ledger.lock().unwrap().values().cloned().collect();
    let rebuilding = AtomicUsize::new(0);
    for id in ids {
        eventually(&format!("{id} in the view"), async || {
            let (status, body) = caller.get(&id).await?;
            match status {
                StatusCode::OK => Some(()),
                StatusCode::SERVICE_UNAVAILABLE => {
                    rebuilding.fetch_add(1, Ordering::Relaxed);
                    None
                }
                _ => panic!("{id}: {status} {body}"),
            }
        })
        .await;
    }
    rebuilding.into_inner()
}

/// The machines that there are, and how often the provisioner says to have made each.
fn machines(data: &Path) -> (BTreeSet<String>, BTreeMap<String, usize>) {
    let directory = data.join("machines");
    let files = fs::read_dir(directory.join("machines")).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let made = files.map(|name| name.trim_end_matches(".json").to_owned());
    let mut effects = BTreeMap::new();
    let log = fs::read_to_string(directory.join("effects.jsonl")).unwrap();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["what"] == "effect" {
            let job = line["job"].as_str().unwrap().to_owned();
            *effects.entry(job).or_insert(0) += 1;
        }
    }
    (made.collect(), effects)
}

#[tokio::test(flavor = "multi_thread")]
async fn t03_killed_ten_times_under_load_it_keeps_every_promise() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let address = free_address();
    let ledger = Ledger::default();
    let keys = Arc::new(AtomicUsize::new(0));
    let (mut unknown, mut rebuilding) = (Vec::<String>::new(), 0);
    for round in 1..=KILLS {
        let mut standalone = start(address, &data, "120ms");
        let caller = Caller::login(address).await;
        rebuilding += look_at_all(&caller, &ledger).await;
        for key in std::mem::take(&mut unknown) {
            let id = caller.create_surely(&key).await;
            ledger.lock().unwrap().insert(key, id);
        }
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            callers.spawn(submit(caller.clone(), ledger.clone(), keys.clone()));
        }
        let enough = round * PROMISES;
        eventually("promises", async || {
            (ledger.lock().unwrap().len() >= enough).then_some(())
        })
        .await;
        standalone.kill();
        while let Some(keys) = callers.join_next().await {
            unknown.extend(keys.unwrap());
        }
    }
    let mut standalone = start(address, &data, "120ms");
    let caller = Caller::login(address).await;
    for key in unknown {
        let id = caller.create_surely(&key).await;
        ledger.lock().unwrap().insert(key, id);
    }
    let promised: BTreeSet<_> = ledger.lock().unwrap().values().cloned().collect();
    for id in &promised {
        let job = caller.end_of(id).await;
        assert_eq!(job["state"], "succeeded", "{job}");
    }
    let (made, effects) = machines(&data);
    assert_eq!(made, promised);
    assert!(effects.values().all(|times| *times == 1), "{effects:?}");
    println!(
        "{KILLS} kills, {} jobs promised and succeeded, 0 lost, 0 made twice, 0 false 404; \
         {rebuilding} answers said state-rebuilding",
        promised.len()
    );
    standalone.signal("TERM");
    let (code, said) = standalone.end(support::PATIENCE);
    assert_eq!(code, Some(0), "{said}");
}
