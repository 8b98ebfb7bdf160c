//! What a crash leaves: brokers made of the journal as it was at some instant.

use proptest::prelude::*;

use super::*;
use crate::{
    bus::LogStart,
    memory::bus::journal::Table,
    testing::bus::{Failure, InMemoryJournal},
    topology::QUEUE_LOG,
};

/// A broker over a journal, with a queue named `q` beside the shared topology.
async fn kept(clock: &TokioClock, journal: &InMemoryJournal) -> (InMemoryBus, Bus) {
    let limits = Limits {
        log_entries: 40,
        log_segment_entries: 5,
        ..Limits::default()
    };
    let journal = Arc::new(journal.clone());
    let broker = InMemoryBus::with_journal(Arc::new(clock.clone()), limits, journal).await;
    let broker = broker.unwrap().0;
    let bus = broker.bus();
    bus.admin.declare(&Topology::new([])).await.unwrap();
    let limited = QueueSpec {
        delivery_limit: Some(5),
        ..queue("q")
    };
    bus.admin.declare_queue(&limited).await.unwrap();
    (broker, bus)
}

async fn settle(broker: &InMemoryBus) {
    patiently("written journal", async {
        while !broker.is_kept() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_what_is_not_kept() {
    let journal = InMemoryJournal::new();
    let (broker, bus) = kept(&TokioClock::new(), &journal).await;
    settle(&broker).await;
    let mut deliveries = bus.consumer.consume("q", 10).await.unwrap();
    let mut reader = bus.log.read(LogStart::First).await.unwrap();
    for failure in [Failure::Before, Failure::After] {
        journal.fail(Some(failure));
        let error = publish(&bus, "q", "x").await.unwrap_err();
        assert!(matches!(error, PublishError::Lost(_)), "{error:?}");
        let blocked = publish(&bus, "q", "never").await.unwrap_err();
        assert!(matches!(blocked, PublishError::Blocked(_)), "{blocked:?}");
        let wait = Duration::from_secs(3);
        let early = tokio::time::timeout(wait, deliveries.next()).await;
        assert!(early.is_err());
        let early = tokio::time::timeout(wait, reader.next_batch(10)).await;
        assert!(early.is_err());
        journal.fail(None);
        next(&mut deliveries).await.ack().await.unwrap();
        let batch = patiently("entry", reader.next_batch(10)).await.unwrap();
        assert_eq!(batch.len(), 1);
    }
    publish(&bus, "q", "after").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_delay_goes_on_where_it_was() {
    let (clock, journal) = (TokioClock::new(), InMemoryJournal::new());
    let (broker, bus) = kept(&clock, &journal).await;
    let work = QueueSpec {
        bindings: vec![bound("jobs.ready", "delay.#")],
        ..queue("work")
    };
    bus.admin.declare_queue(&work).await.unwrap();
    publish(&bus, "delay.1m.job.a.b", "later").await.unwrap();
    tokio::time::sleep(Duration::from_secs(55)).await;
    settle(&broker).await;
    broker.close().await;

    let (_broker, bus) = kept(&clock, &journal).await;
    let mut deliveries = bus.consumer.consume("work", 1).await.unwrap();
    let back = tokio::time::Instant::now();
    let delivery = next(&mut deliveries).await;
    assert_eq!(delivery.message.body, "later");
    let waited = back.elapsed();
    assert!((4..=6).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_kills_the_process_is_given_up() {
    let (clock, mut journal) = (TokioClock::new(), InMemoryJournal::new());
    let dead = QueueSpec {
        dead_letter_exchange: Some("jobs.dlx".to_owned()),
        ..queue("poison")
    };
    let dead = QueueSpec {
        delivery_limit: Some(5),
        ..dead
    };
    for crash in 0..=6 {
        let (broker, bus) = kept(&clock, &journal).await;
        bus.admin.declare_queue(&dead).await.unwrap();
        if crash == 0 {
            publish(&bus, "poison", "x").await.unwrap();
        }
        let mut deliveries = bus.consumer.consume("poison", 1).await.unwrap();
        if crash == 6 {
            assert_eq!(drain(&bus, QUEUE_DEAD).await, ["x"]);
            return;
        }
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.message.delivery_count, crash);
        settle(&broker).await;
        // The crash: what follows in this process is not in the copy.
        journal = journal.after(journal.batches());
    }
}

/// What somebody does with the broker.
#[derive(Debug, Clone)]
enum Step {
    Publish,
    Take,
    Ack,
    Requeue,
    Reject,
    Pass,
}

async fn run(steps: Vec<Step>) {
    let (clock, journal) = (TokioClock::new(), InMemoryJournal::new());
    let (broker, bus) = kept(&clock, &journal).await;
    let mut deliveries = bus.consumer.consume("q", 3).await.unwrap();
    let mut in_hand = Vec::new();
    // After so many batches, so many entries had been confirmed.
    let mut confirmed = Vec::new();
    let mut count = 0;
    for step in steps {
        match step {
            Step::Publish => {
                publish(&bus, "q", count.to_string()).await.unwrap();
                count += 1;
                confirmed.push((journal.batches(), count));
            }
            Step::Take => {
                let wait = Duration::from_millis(5);
                let delivery = tokio::time::timeout(wait, deliveries.next()).await;
                in_hand.extend(delivery.ok().flatten());
            }
            Step::Pass => tokio::time::sleep(Duration::from_secs(1)).await,
            settle => {
                let Some(delivery) = in_hand.pop() else {
                    continue;
                };
                match settle {
                    Step::Ack => delivery.ack().await.unwrap(),
                    Step::Requeue => delivery.requeue().await.unwrap(),
                    _ => delivery.reject().await.unwrap(),
                }
            }
        }
    }
    settle(&broker).await;
    for batches in 1..=journal.batches() {
        let crashed = journal.after(batches);
        let (again, _) = kept(&clock, &crashed).await;
        let promised = confirmed.iter().rev().find(|(at, _)| *at <= batches);
        let promised = promised.map_or(0, |(_, count)| *count);
        let log = &again.snapshot()[QUEUE_LOG];
        let end = log.last().map_or(0, |line| {
            line["offset ".len()..][..8].parse::<usize>().unwrap() + 1
        });
        assert!(end >= promised, "{end} of {promised} after {batches}");
        settle(&again).await;
        // Each message is there as long as a row names it, and no longer.
        let rows: std::collections::BTreeSet<_> = again
            .snapshot()
            .into_values()
            .flatten()
            .filter_map(|line| Some(line.split_once(": ")?.1.to_owned()))
            .collect();
        assert!(crashed.len(Table::Message) >= usize::from(!rows.is_empty()));
        assert!(crashed.len(Table::Message) <= crashed.len(Table::Log) + crashed.len(Table::Entry));
    }
    let (again, _) = kept(&clock, &journal.after(journal.batches())).await;
    assert_eq!(again.snapshot(), broker.snapshot());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn at_every_batch_the_journal_is_a_whole_broker(steps in prop::collection::vec(
        prop_oneof![
            4 => Just(Step::Publish),
            3 => Just(Step::Take),
            2 => Just(Step::Ack),
            1 => Just(Step::Requeue),
            1 => Just(Step::Reject),
            1 => Just(Step::Pass),
        ],
        1..80,
    )) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps));
    }
}
