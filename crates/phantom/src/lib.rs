//! Synthetic chest CT scans with nodules, as DICOM and LIDC XML.
//!
//! [`make`] draws a chest from a seed; [`write_dicom`] and [`cohort`] write such chests the way
//! LIDC-IDRI is laid out, so that they take the same way in as real scans.

mod anatomy;
mod branching;
mod cohort;
mod config;
mod dicom_writer;
mod error;
mod nodule;
mod outline;
mod phantom;
mod placement;
mod reader;
mod reader_xml;
mod render;
mod signed_distance;
mod skeleton;
mod texture;
mod tissue;
mod uid;

pub use cohort::cohort;
pub use config::PhantomConfig;
pub use dicom_writer::write_dicom;
pub use error::PhantomError;
pub use nodule::{PhantomNodule, Site, Texture};
pub use phantom::{Phantom, make};
pub use reader::{Annotation, READERS, Ratings, Reading};
