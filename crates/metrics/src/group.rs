//! Groups of nodules by which results are given apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Diameter group of a nodule. The bounds are the ones that lung screening reads by: 6 mm is where
/// follow-up begins (Fleischner Society, 2017), above 30 mm a lesion is a mass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SizeGroup {
    /// Below 3 mm.
    Below3,
    /// From 3 to below 6 mm.
    From3To6,
    /// From 6 to below 10 mm.
    From6To10,
    /// From 10 to below 20 mm.
    From10To20,
    /// From 20 to 30 mm.
    From20To30,
    /// Above 30 mm.
    Above30,
}

impl SizeGroup {
    /// The group of a diameter in mm.
    pub fn of(diameter_mm: f64) -> Self {
        match diameter_mm {
            d if d < 3.0 => Self::Below3,
            d if d < 6.0 => Self::From3To6,
            d if d < 10.0 => Self::From6To10,
            d if d < 20.0 => Self::From10To20,
            d if d <= 30.0 => Self::From20To30,
            _ => Self::Above30,
        }
    }
}

impl fmt::Display for SizeGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Below3 => "< 3 mm",
            Self::From3To6 => "3-6 mm",
            Self::From6To10 => "6-10 mm",
            Self::From10To20 => "10-20 mm",
            Self::From20To30 => "20-30 mm",
            Self::Above30 => "> 30 mm",
        })
    }
}

/// Texture group of a nodule, by the median of LIDC's ratings (1 ground glass, 3 part solid, 5
/// solid).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextureGroup {
    /// Median of at most 2.
    NonSolid,
    /// Median above 2 and below 4.
    PartSolid,
    /// Median of at least 4.
    Solid,
    /// No reader rated it.
    Unrated,
}

impl TextureGroup {
    /// The group of the readers' ratings; 0, a rating left open, does not count.
    pub fn of(ratings: &[u8]) -> Self {
        let mut rated: Vec<u8> = ratings.iter().copied().filter(|r| *r > 0).collect();
        rated.sort_unstable();
        let Some(last) = rated.len().checked_sub(1) else { return Self::Unrated };
        // Twice the median, a whole number.
        match u16::from(rated[last / 2]) + u16::from(rated[last.div_ceil(2)]) {
            0..=4 => Self::NonSolid,
            5..=7 => Self::PartSolid,
            _ => Self::Solid,
        }
    }
}

impl fmt::Display for TextureGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NonSolid => "non-solid",
            Self::PartSolid => "part-solid",
            Self::Solid => "solid",
            Self::Unrated => "unrated",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_the_upper_group_but_30_to_the_lower() {
        let of = |mm| SizeGroup::of(mm).to_string();
        let groups = [2.99, 3.0, 5.99, 6.0, 10.0, 20.0, 30.0, 30.01].map(of);
        let expected = [
            "< 3 mm", "3-6 mm", "3-6 mm", "6-10 mm", "10-20 mm", "20-30 mm", "20-30 mm", "> 30 mm",
        ];
        assert_eq!(groups, expected);
    }

    #[test]
    fn the_median_decides() {
        let of = TextureGroup::of;
        assert_eq!((of(&[]), of(&[0, 0])), (TextureGroup::Unrated, TextureGroup::Unrated));
        assert_eq!((of(&[5, 1, 1]), of(&[2, 0])), (TextureGroup::NonSolid, TextureGroup::NonSolid));
        assert_eq!((of(&[1, 5]), of(&[3, 4])), (TextureGroup::PartSolid, TextureGroup::PartSolid));
        assert_eq!((of(&[4, 4, 1]), of(&[3, 5, 5, 3])), (TextureGroup::Solid, TextureGroup::Solid));
        assert_eq!(of(&[200, 255]), TextureGroup::Solid);
    }
}
