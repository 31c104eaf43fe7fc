//! A share of a list, for job arrays.

use std::str::FromStr;

/// The i-th of n shares: every n-th element from the i-th on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    number: usize,
    of: usize,
}

impl Shard {
    /// Whether the element at an index, from 0, belongs to this share.
    pub fn takes(self, index: usize) -> bool {
        index % self.of == self.number - 1
    }

    /// As part of a file's name.
    pub fn in_words(self) -> String {
        format!("{}-of-{}", self.number, self.of)
    }

    /// How many shares there are.
    pub fn of(self) -> usize {
        self.of
    }

    /// This share of groups that stay whole: each goes to the share that has the fewest elements so
    /// far.
    pub fn of_groups<T>(self, groups: Vec<Vec<T>>) -> Vec<T> {
        let mut sizes = vec![0; self.of];
        let mut own = Vec::new();
        for group in groups {
            let share = (0..self.of).min_by_key(|share| sizes[*share]).unwrap_or(0);
            sizes[share] += group.len();
            if share == self.number - 1 {
                own.extend(group);
            }
        }
        own
    }
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "give I/N, such as 2/8, I from 1 to N";
        let (number, of) = text.split_once('/').ok_or(wrong)?;
        let (Ok(number), Ok(of)) = (number.parse(), of.parse()) else { return Err(wrong) };
        if (1..=of).contains(&number) { Ok(Self { number, of }) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_counted_from_one_and_cover_all() {
        for wrong in ["0/2", "3/2", "1", "1/0", "a/2", "-1/2", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
        let shards = ["1/3", "2/3", "3/3"].map(|text| text.parse::<Shard>().unwrap());
        assert!(shards[0].takes(0) && shards[1].takes(1) && shards[2].takes(5));
        for index in 0..10 {
            assert_eq!(shards.iter().filter(|shard| shard.takes(index)).count(), 1);
        }
        let groups = vec![vec![1, 2, 3], vec![4], vec![5, 6], vec![7], vec![8, 9]];
        let shares = shards.map(|shard| shard.of_groups(groups.clone()));
        assert_eq!(shares, [vec![1, 2, 3], vec![4, 7, 8, 9], vec![5, 6]]);
    }
}
