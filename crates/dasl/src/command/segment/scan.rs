//! A scan that was read.

use std::path::Path;

use anyhow::{Result, bail};
use dasl_volume::dicom::{CtScan, SourceImages};
use dasl_volume::{CtVolume, Geometry, image_file};
use serde::{Deserialize, Serialize};

use crate::{hounsfield, scan_size};

/// What tells a scan from all others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Identity {
    /// A DICOM series.
    Series {
        /// `SeriesInstanceUID`.
        series_uid: String,
        /// How many files it has: a series may still be arriving.
        files: usize,
    },
    /// A volume file.
    File {
        /// Of its content.
        sha256: String,
    },
}

/// A scan to segment.
pub struct Scan {
    /// Name of its output folder.
    pub name: String,
    /// What tells it from all others.
    pub identity: Identity,
    /// Its images, where it comes from DICOM.
    pub images: Option<SourceImages>,
    /// Hounsfield units on its own grid.
    pub ct: CtVolume,
}

impl Scan {
    /// A DICOM series.
    ///
    /// # Errors
    /// If its header can't be read again.
    pub fn of_series(name: String, identity: Identity, scan: CtScan) -> Result<Self> {
        let images = Some(SourceImages::of(&scan)?);
        Ok(Self { name, identity, images, ct: scan.volume })
    }

    /// A volume file.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn of_file(name: String, identity: Identity, path: &Path) -> Result<Self> {
        Ok(Self { name, identity, images: None, ct: image_file::read_ct(path)? })
    }

    /// `SeriesInstanceUID`, where it comes from DICOM.
    pub fn series_uid(&self) -> Option<&str> {
        self.images.as_ref().map(|images| images.series_uid.as_str())
    }

    /// Whether it can be looked at on a grid.
    ///
    /// # Errors
    /// What keeps it from being a CT scan.
    pub fn check(&self, grid: &Geometry) -> Result<()> {
        scan_size::check(grid)?;
        let mut values = self.ct.voxels.iter();
        if let Some(first) = values.next()
            && values.all(|value| value == first)
        {
            bail!("every voxel is {first} HU, so it shows nothing; export the scan again");
        }
        hounsfield::check(&self.ct)
    }
}
