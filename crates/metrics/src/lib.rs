//! Overlap, hits and misses, FROC: how a segmentation is judged.
//!
//! The rules are named, so that a figure can say by which one it was counted:
//! [`matching::MATCHING_RULE`] for instance masks, LUNA16's own for [`mod@froc`].

pub mod bootstrap;
mod distance_transform;
pub mod froc;
pub mod froc_bootstrap;
pub mod luna_csv;
pub mod matching;
pub mod overlap;
pub mod summary;
pub mod surface;

pub use bootstrap::{Difference, Interval, RESAMPLES, mean_difference, mean_interval};
pub use froc::{Annotation, Froc, FrocCounts, FrocError, Mark, Ranking, froc};
pub use froc_bootstrap::{FrocIntervals, OtherScans, cpm_difference, froc_intervals};
pub use luna_csv::{LunaCsvError, ScanIds};
pub use matching::{MATCHING_RULE, MatchingError, NoduleResult, ScanResult, match_instances};
pub use overlap::{Overlap, dice};
pub use summary::Summary;
pub use surface::{SURFACE_RULE, SurfaceDistances, surface_distances};
