//! LIDC-IDRI readers: XML, clustering into nodules, consensus masks.
//!
//! From a reader's XML to masks on the scan's grid: [`read_xml`] gives a [`Reading`];
//! [`outlines`] places its outlines on the slices; [`cluster()`] groups those that mean the same
//! nodule; [`consensus()`] makes one mask of a group by a named [`Rule`]; [`nodules()`] does all
//! of it. Outlines, groups and 50 % masks are those of pylidc 0.2.3, voxel by voxel (see
//! `oracle/check_lidc.py`). [`voi`] reads a folder of ready nodule volumes with their masks.
//!
//! Arrays are [z, y, x] and start at the grid's first voxel; x is the column, y the row.

pub mod cluster;
pub mod consensus;
mod error;
pub mod ignored;
pub mod nodules;
pub mod outline;
mod polygon;
pub mod readers;
pub mod reading;
pub mod slices;
pub mod voi;
pub mod xml;

pub use cluster::cluster;
pub use consensus::{Rule, UnknownRule, consensus};
pub use error::LidcError;
pub use ignored::{Ignored, IgnoredKind, ignored};
pub use nodules::{Nodule, OutlineId, label_map, nodules};
pub use outline::{Contour, Mask, Outline, outlines};
pub use readers::{ReadNodule, ReaderMask, reader_masks};
pub use reading::{Characteristics, NonNodule, ReaderNodule, Reading, Roi, Session, same_series};
pub use slices::SlicePositions;
pub use xml::{XmlKind, read_xml};
