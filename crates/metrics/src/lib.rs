//! Overlap, hits and misses, FROC: how a segmentation is judged.
//!
//! The rules are named, so that a figure can say by which one it was counted:
//! [`matching::MATCHING_RULE`] for instance masks, LUNA16's own for [`mod@froc`].

pub mod bootstrap;
pub mod calibration;
mod distance_transform;
pub mod figures;
pub mod froc;
pub mod froc_bootstrap;
pub mod group;
pub mod luna_csv;
pub mod matching;
pub mod measures;
pub mod overlap;
pub mod summary;
pub mod surface;

pub use bootstrap::{Difference, Interval, RESAMPLES, mean_difference, mean_interval};
pub use calibration::{Calibration, CalibrationBin, calibration};
pub use distance_transform::squared_distances_mm2;
pub use figures::{Figures, Judged, Spread};
pub use froc::{Annotation, Froc, FrocCounts, FrocError, Mark, Ranking, froc};
pub use froc_bootstrap::{FrocIntervals, OtherScans, cpm_difference, froc_intervals};
pub use group::{SizeGroup, TextureGroup};
pub use luna_csv::{LunaCsvError, ScanIds};
pub use matching::{
    IgnoredPlace, MATCHING_RULE, MatchingError, NoduleResult, ScanResult, match_instances,
};
pub use measures::{DIAMETER_RULE, Measures, measure, sphere_diameter_mm};
pub use overlap::{Overlap, dice};
pub use summary::{Summary, median};
pub use surface::{SURFACE_RULE, SurfaceDistances, surface_distances};
