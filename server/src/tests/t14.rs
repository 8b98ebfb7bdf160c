//! T14: a stream that is cut at random points shows every event once and in order.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::sleep;
use vmctl_core::event::Event;

use super::support::{MEMBER, Suite};

/// How many lives of a job are tried.
const SEEDS: u64 = 150;

/// Says everything about a job, with pauses.
async fn live(suite: &Suite, command: &Event, mut rng: StdRng) {
    let mut pause = async || sleep(Duration::from_millis(rng.random_range(0..400))).await;
    pause().await;
    suite.started(command).await;
    for seq in 1..=12 {
        pause().await;
        suite.continued(command, seq).await;
        suite.tick(command, seq).await;
    }
    pause().await;
    suite.succeeded(command).await;
}

/// Follows the job, cut after a few frames each time, until nothing will follow.
async fn follow(suite: &Suite, path: &str, mut rng: StdRng) -> (Vec<String>, u32) {
    let (mut seen, mut cuts) = (Vec::<String>::new(), 0);
    loop {
        let mut call = suite.request("GET", path).token(MEMBER);
        if let Some(last) = seen.last() {
            call = call.header("Last-Event-ID", last);
        }
        let Some(mut events) = call.open_or_end().await else {
            return (seen, cuts);
        };
        // Some are cut before the first frame, some hold to the end.
        for _ in 0..rng.random_range(0..6) {
            let Some(frame) = events.next().await else {
                break;
            };
            if !frame.id.is_empty() {
                seen.push(frame.id);
            }
        }
        cuts += 1;
        drop(events);
        sleep(Duration::from_millis(rng.random_range(0..300))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn t14_a_stream_that_is_cut_at_random_points_shows_every_event_once_and_in_order() {
    let suite = Suite::start().await;
    let mut all_cuts = 0;
    for seed in 0..SEEDS {
        let (id, command) = suite.job().await;
        let rng = |salt: u64| StdRng::seed_from_u64(seed * 7 + salt);
        let path = match seed % 2 {
            0 => format!("/v1/jobs/{id}/events"),
            _ => format!("/v1/events?job={id}"),
        };
        let ((), (seen, cuts)) = tokio::join!(
            live(&suite, &command, rng(1)),
            follow(&suite, &path, rng(2))
        );
        all_cuts += cuts;
        let history = suite.history(&id).await;
        // The snapshot names the newest event that it has.
        let begun = history.iter().position(|event| *event == seen[0]);
        assert_eq!(seen, history[begun.unwrap()..], "seed {seed}");
    }
    assert!(all_cuts > 3 * u32::try_from(SEEDS).unwrap(), "{all_cuts}");
}
