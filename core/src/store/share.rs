//! How readers share the partitions, as a decision without I/O.

use crate::partition::Partition;

/// What a reader does with the partitions at one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Share {
    /// Its own, to renew.
    pub keep: Vec<Partition>,
    /// Its own, to give back because others are alive.
    pub give: Vec<Partition>,
    /// Free ones, to take.
    pub take: Vec<Partition>,
}

/// Decides for `reader`, given the readers alive and who holds each partition, by number.
///
/// Readers may decide at the same time and from old news: whoever takes must still lose to one who
/// was first. The shares differ by one at most once everybody has called twice.
pub fn share(reader: &str, alive: &[String], holders: &[Option<String>]) -> Share {
    let mut alive: Vec<&str> = alive.iter().map(String::as_str).collect();
    alive.push(reader);
    alive.sort_unstable();
    alive.dedup();
    let rank = alive.iter().position(|&r| r == reader).unwrap_or(0);
    let fair = holders.len() / alive.len() + usize::from(rank < holders.len() % alive.len());

    let held_by = |who: Option<&str>| {
        Partition::all()
            .zip(holders)
            .filter(move |(_, holder)| holder.as_deref() == who)
            .map(|(partition, _)| partition)
            .collect::<Vec<_>>()
    };
    let mut keep = held_by(Some(reader));
    let give = keep.split_off(fair.min(keep.len()));
    let mut take = held_by(None);
    take.truncate(fair - keep.len());
    Share { keep, give, take }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(readers: &[&str]) -> Vec<String> {
        readers.iter().map(|&r| r.to_owned()).collect()
    }

    #[test]
    fn one_takes_all() {
        let decided = share("a", &[], &vec![None; 64]);
        assert_eq!(decided.take.len(), 64);
        assert!(decided.keep.is_empty() && decided.give.is_empty());
    }

    #[test]
    fn shares_differ_by_one_at_most() {
        let alive = names(&["a", "b", "c"]);
        let mut holders = vec![Some("a".to_owned()); 64];
        for _ in 0..2 {
            for reader in &alive {
                let decided = share(reader, &alive, &holders);
                for partition in decided.give {
                    holders[partition.index()] = None;
                }
                for partition in decided.take {
                    holders[partition.index()] = Some(reader.clone());
                }
            }
        }
        let count = |who: &String| holders.iter().flatten().filter(|h| *h == who).count();
        let counts: Vec<_> = alive.iter().map(count).collect();
        assert_eq!(counts, [22, 21, 21]);
    }
}
