//! One mask of several outlines, by a named rule.

use crate::{Mask, Outline};
use ndarray::{Array3, Zip};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Which nodules count and which voxels belong to them; printed with every figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A voxel belongs where at least half of the group's outlines hold it
    /// (`pylidc.utils.consensus`, clevel 0.5); a nodule of a single outline is that outline.
    #[default]
    Pylidc,
    /// A voxel belongs where at least two of the scan's four readers marked it, whoever marked
    /// the nodule at all; a nodule of one reader is none.
    TwoOfFour,
    /// Nodules marked by at least three readers, as the union of their outlines (`NoduleNet`,
    /// Tang et al. 2019).
    ThreeReadersUnion,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pylidc => "pylidc",
            Self::TwoOfFour => "two-of-four",
            Self::ThreeReadersUnion => "three-readers-union",
        })
    }
}

/// A rule by a name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no rule is called {0:?}; the rules are pylidc, two-of-four and three-readers-union")]
pub struct UnknownRule(pub String);

impl FromStr for Rule {
    type Err = UnknownRule;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Pylidc, Self::TwoOfFour, Self::ThreeReadersUnion]
            .into_iter()
            .find(|rule| rule.to_string() == name)
            .ok_or_else(|| UnknownRule(name.to_owned()))
    }
}

/// The mask of one group of outlines, in the box about all of them (pylidc's `cbbox`); `None`
/// where the rule leaves no voxel.
///
/// `Pylidc` counts outlines, exactly as pylidc does. The other rules speak of readers, so a
/// reader who outlined one nodule in two pieces counts once, with the pieces joined.
pub fn consensus(group: &[&Outline], rule: Rule) -> Option<Mask> {
    let (low, high) = bounds(group)?;
    Some(Mask { start: low, voxels: consensus_in(group, rule, low, high)? })
}

/// The same in the box `low..=high` [z, y, x], which must enclose the group.
pub(crate) fn consensus_in(
    group: &[&Outline],
    rule: Rule,
    low: [usize; 3],
    high: [usize; 3],
) -> Option<Array3<bool>> {
    let readers = readers(group);
    let parts: Vec<Vec<&Outline>> = match rule {
        Rule::Pylidc => group.iter().map(|&o| vec![o]).collect(),
        Rule::ThreeReadersUnion if readers.len() < 3 => return None,
        Rule::TwoOfFour | Rule::ThreeReadersUnion => {
            readers.iter().map(|&r| outlines_of(group, r)).collect()
        }
    };
    let needed = match rule {
        Rule::Pylidc => parts.len().div_ceil(2),
        Rule::TwoOfFour => 2,
        Rule::ThreeReadersUnion => 1,
    };
    let shape: [usize; 3] = std::array::from_fn(|axis| high[axis] - low[axis] + 1);
    let mut votes = Array3::<usize>::zeros(shape);
    for part in parts {
        let marked = joined(&part, low, high);
        Zip::from(&mut votes).and(&marked).for_each(|v, &m| *v += usize::from(m));
    }
    let mask = votes.mapv(|v| v >= needed);
    mask.iter().any(|&inside| inside).then_some(mask)
}

/// What any of the outlines encloses, in the box `low..=high`, which must enclose them.
pub(crate) fn joined(outlines: &[&Outline], low: [usize; 3], high: [usize; 3]) -> Array3<bool> {
    let shape: [usize; 3] = std::array::from_fn(|axis| high[axis] - low[axis] + 1);
    let mut marked = Array3::from_elem(shape, false);
    for outline in outlines {
        let mask = outline.mask_in(low, high).voxels;
        Zip::from(&mut marked).and(&mask).for_each(|m, &inside| *m |= inside);
    }
    marked
}

/// The readers of a group, ascending.
pub(crate) fn readers(group: &[&Outline]) -> BTreeSet<usize> {
    group.iter().map(|o| o.reader).collect()
}

/// One reader's outlines of a group: several where the nodule was outlined in pieces.
pub(crate) fn outlines_of<'a>(group: &[&'a Outline], reader: usize) -> Vec<&'a Outline> {
    group.iter().copied().filter(|o| o.reader == reader).collect()
}

/// The box about several outlines.
pub(crate) fn bounds(group: &[&Outline]) -> Option<([usize; 3], [usize; 3])> {
    group.iter().map(|o| o.bounds()).reduce(|(low, high), (l, h)| {
        (
            std::array::from_fn(|axis| low[axis].min(l[axis])),
            std::array::from_fn(|axis| high[axis].max(h[axis])),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Characteristics, Contour};

    /// A bar of `from..to` columns in row 2 of slice 0.
    fn bar(reader: usize, from: usize, to: usize) -> Outline {
        let mut points: Vec<[usize; 2]> = (from - 1..=to).map(|x| [1, x]).collect();
        points.push([2, to]);
        points.extend((from - 1..=to).rev().map(|x| [3, x]));
        points.push([2, from - 1]);
        let contours = vec![Contour { slice: 0, inclusion: true, points }];
        Outline { reader, id: String::new(), characteristics: Characteristics::default(), contours }
    }

    fn columns(outlines: &[Outline], rule: Rule) -> Vec<usize> {
        let group: Vec<&Outline> = outlines.iter().collect();
        consensus(&group, rule).map_or(vec![], |m| m.indices().map(|[_, _, x]| x).collect())
    }

    #[test]
    fn half_of_those_who_marked_it() {
        let three = [bar(0, 5, 9), bar(1, 6, 10), bar(2, 8, 12)];
        assert_eq!(columns(&three, Rule::Pylidc), vec![6, 7, 8, 9]);
        assert_eq!(columns(&three[..2], Rule::Pylidc), vec![5, 6, 7, 8, 9]);
        assert_eq!(columns(&three[..1], Rule::Pylidc), vec![5, 6, 7, 8]);
    }

    #[test]
    fn two_readers_of_the_four() {
        let pair = [bar(0, 5, 9), bar(1, 6, 10)];
        assert_eq!(columns(&pair, Rule::TwoOfFour), vec![6, 7, 8]);
        assert_eq!(columns(&pair[..1], Rule::TwoOfFour), Vec::<usize>::new());
        // Twice the same reader is one reader.
        assert_eq!(columns(&[bar(0, 5, 9), bar(0, 6, 10)], Rule::TwoOfFour), Vec::<usize>::new());
    }

    #[test]
    fn the_union_of_three_readers() {
        let three = [bar(0, 5, 9), bar(1, 6, 10), bar(2, 8, 12)];
        assert_eq!(columns(&three, Rule::ThreeReadersUnion), (5..12).collect::<Vec<_>>());
        assert_eq!(columns(&three[..2], Rule::ThreeReadersUnion), Vec::<usize>::new());
    }

    #[test]
    fn names_read_back() {
        for rule in [Rule::Pylidc, Rule::TwoOfFour, Rule::ThreeReadersUnion] {
            assert_eq!(rule.to_string().parse(), Ok(rule));
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{rule}\""));
        }
        assert!("pylid".parse::<Rule>().unwrap_err().to_string().contains("two-of-four"));
    }
}
