use super::*;
use crate::{
    bus::{BusState, LogEntry, LogReader, LogStart},
    topology::QUEUE_LOG,
};

async fn read_all(reader: &mut Box<dyn LogReader>) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    while let Ok(batch) =
        tokio::time::timeout(Duration::from_millis(1), reader.next_batch(1000)).await
    {
        entries.extend(batch.unwrap());
    }
    entries
}

fn bodies(entries: &[LogEntry]) -> Vec<&[u8]> {
    entries.iter().map(|entry| &*entry.message.body).collect()
}

#[tokio::test(start_paused = true)]
async fn the_log_forgets_its_oldest_segments() {
    let limits = Limits {
        log_entries: 100,
        log_segment_entries: 10,
        ..Limits::default()
    };
    let (_broker, bus) = broker(limits).await;
    let mut behind = bus.log.read(LogStart::First).await.unwrap();
    for n in 0..255 {
        publish(&bus, "x", n.to_string()).await.unwrap();
    }
    let mut reader = bus.log.read(LogStart::First).await.unwrap();
    let entries = read_all(&mut reader).await;
    // Whole segments go, as soon as there are more than 100 entries.
    assert_eq!(entries.len(), 95);
    assert_eq!(entries[0].offset, 160);
    assert_eq!(entries[0].message.body, "160");
    assert_eq!(entries[94].offset, 254);
    // Who was behind goes on at the oldest; the offset tells the hole.
    assert_eq!(read_all(&mut behind).await[0].offset, 160);
    let mut gone = bus.log.read(LogStart::Offset(3)).await.unwrap();
    assert_eq!(read_all(&mut gone).await[0].offset, 160);
}

#[tokio::test(start_paused = true)]
async fn the_log_is_bounded_in_bytes() {
    let limits = Limits {
        log_bytes: 100_000,
        ..Limits::default()
    };
    let (_broker, bus) = broker(limits).await;
    for _ in 0..100 {
        publish(&bus, "x", "x".repeat(10_000)).await.unwrap();
    }
    let mut reader = bus.log.read(LogStart::First).await.unwrap();
    let entries = read_all(&mut reader).await;
    assert!((5..=10).contains(&entries.len()), "{}", entries.len());
    assert_eq!(entries.last().unwrap().offset, 99);
}

#[tokio::test(start_paused = true)]
async fn the_log_forgets_what_is_too_old() {
    let limits = Limits {
        log_segment_entries: 1,
        ..Limits::default()
    };
    let (_broker, bus) = broker(limits).await;
    publish(&bus, "x", "old").await.unwrap();
    tokio::time::sleep(Duration::from_secs(23 * 3600)).await;
    publish(&bus, "x", "young").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    publish(&bus, "x", "new").await.unwrap();
    let mut reader = bus.log.read(LogStart::First).await.unwrap();
    let entries = read_all(&mut reader).await;
    assert_eq!(bodies(&entries), [b"young".as_slice(), b"new"]);
}

#[tokio::test(start_paused = true)]
async fn offsets_go_on_in_a_recreated_log() {
    let (_broker, bus) = broker(Limits::default()).await;
    publish(&bus, "x", "0").await.unwrap();
    publish(&bus, "x", "1").await.unwrap();
    let mut old = bus.log.read(LogStart::Next).await.unwrap();
    bus.admin.delete_queue(QUEUE_LOG).await.unwrap();
    bus.admin.declare(&Topology::new([])).await.unwrap();
    publish(&bus, "x", "2").await.unwrap();
    assert!(old.next_batch(1).await.is_err());
    drop(old);
    let mut reader = bus.log.read(LogStart::First).await.unwrap();
    let entries = read_all(&mut reader).await;
    assert_eq!(bodies(&entries), [b"2"]);
    assert_eq!(entries[0].offset, 2);
    let stats = bus.admin.inspect(QUEUE_LOG).await.unwrap().unwrap();
    assert_eq!((stats.ready, stats.consumers), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_reader_starts_exactly_at_a_time() {
    let limits = Limits {
        log_segment_entries: 3,
        ..Limits::default()
    };
    let (broker, bus) = broker(limits).await;
    let mut times = Vec::new();
    for n in 0..20 {
        times.push(broker.0.with(|broker, _| broker.clock.now()));
        publish(&bus, "x", n.to_string()).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for (n, time) in times.into_iter().enumerate() {
        let mut reader = bus.log.read(LogStart::Time(time)).await.unwrap();
        assert_eq!(read_all(&mut reader).await[0].offset, n as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn full_queues_block_publishers_until_they_are_emptied() {
    let limits = Limits {
        queued_bytes: 100_000,
        ..Limits::default()
    };
    let (_broker, bus) = broker(limits).await;
    bus.admin.declare_queue(&queue("work")).await.unwrap();
    let mut accepted = 0;
    let reason = loop {
        match publish(&bus, "work", "x".repeat(10_000)).await {
            Ok(()) if accepted < 100 => accepted += 1,
            Ok(()) => panic!("never blocked"),
            Err(PublishError::Blocked(reason)) => break reason,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert_eq!(accepted, 10);
    assert_eq!(reason, "memory");
    assert_eq!(bus.publisher.state(), BusState::Blocked(reason));
    // What is not settled still takes room.
    let mut deliveries = bus.consumer.consume("work", 10).await.unwrap();
    let delivery = next(&mut deliveries).await;
    assert!(publish(&bus, "work", "y").await.is_err());
    delivery.ack().await.unwrap();
    publish(&bus, "work", "y").await.unwrap();
}
