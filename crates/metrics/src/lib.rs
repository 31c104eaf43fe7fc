//! Overlap, hits and misses, FROC: how a segmentation is judged.
//!
//! The rules are named, so that a figure can say by which one it was counted:
//! [`matching::MATCHING_RULE`] for instance masks, LUNA16's own for [`mod@froc`].

pub mod froc;
pub mod luna_csv;
pub mod matching;
pub mod overlap;
pub mod summary;

pub use froc::{Annotation, Froc, FrocCounts, FrocError, Mark, froc};
pub use luna_csv::{LunaCsvError, ScanIds};
pub use matching::{MATCHING_RULE, MatchingError, NoduleResult, ScanResult, match_instances};
pub use overlap::{Overlap, dice};
pub use summary::Summary;
