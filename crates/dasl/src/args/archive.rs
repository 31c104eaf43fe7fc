//! Arguments that choose series of an archive.

use std::path::PathBuf;

/// `dasl series`
#[derive(Debug, clap::Args)]
pub struct SeriesArgs {
    /// Folder of DICOM files in any layout
    pub archive: PathBuf,
}

/// Which series are meant.
#[derive(Debug, clap::Args)]
pub struct PickArgs {
    /// Only the DICOM series of this CSV file, by its column `series_uid`, such as lines of what `dasl series`
    /// prints; volume files are taken all the same
    #[arg(long, value_name = "FILE")]
    pub series: Option<PathBuf>,
}
