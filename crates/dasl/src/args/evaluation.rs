//! What is asked of `dasl evaluate` and `dasl froc`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use dasl_lidc::Rule;
use dasl_metrics::{RESAMPLES, ScanIds};

use super::DeviceArgs;

/// `dasl evaluate`
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct EvaluateArgs {
    /// What to compare instead of outlines with a reference.
    #[command(subcommand)]
    pub what: Option<EvaluateWhat>,
    /// Folder that `dasl segment` wrote
    #[arg(required = true)]
    pub predictions: Option<PathBuf>,
    /// Dataset folder with the reference
    #[arg(required = true)]
    pub dataset: Option<PathBuf>,
    /// What another system wrote for the same scans, to compare with
    #[arg(long, value_name = "PREDICTIONS")]
    pub against: Option<PathBuf>,
    #[command(flatten)]
    pub bootstrap: BootstrapArgs,
    /// Folder to write nodules.csv and evaluation.json to [default: the predictions']
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// What else is compared.
#[derive(Debug, Subcommand)]
pub enum EvaluateWhat {
    /// The readers of LIDC-IDRI with each other and with their consensus
    Readers(EvaluateReadersArgs),
    /// A network's outlines of a dataset's nodules where their places are given
    Samples(EvaluateSamplesArgs),
}

/// `dasl evaluate samples`
#[derive(Debug, clap::Args)]
pub struct EvaluateSamplesArgs {
    /// Dataset folder with the nodules
    pub dataset: PathBuf,
    /// Run folder of `dasl train` or `dasl learn` [default: the network in the binary]
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Folder to write samples.csv and samples.json to
    #[arg(long)]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// `dasl evaluate readers`
#[derive(Debug, clap::Args)]
pub struct EvaluateReadersArgs {
    /// Folder with the reader XML and, without --slices, the DICOM series (any layout)
    pub src: PathBuf,
    /// Table of the series' slices instead of DICOM, as `oracle/export_slices.py` makes it
    #[arg(long, value_name = "CSV")]
    pub slices: Option<PathBuf>,
    /// The consensus: pylidc, two-of-four or three-readers-union
    #[arg(long, default_value = "pylidc")]
    pub rule: Rule,
    /// Folder to write readers.csv and readers.json to
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// `dasl froc`
#[derive(Debug, clap::Args)]
pub struct FrocArgs {
    /// The detector's marks: a table with seriesuid, coordX, coordY, coordZ (mm) and probability,
    /// separated by commas or tabs, as are all lists; or a folder that `dasl segment` wrote to
    #[arg(long)]
    pub marks: PathBuf,
    /// Nodules: a table with seriesuid, coordX, coordY, coordZ and `diameter_mm`
    #[arg(long)]
    pub annotations: PathBuf,
    /// Findings where a mark counts neither way, in the same form
    #[arg(long)]
    pub excluded: Option<PathBuf>,
    /// All evaluated scans, one id a line, also those without nodules or marks
    #[arg(long)]
    pub series: PathBuf,
    /// Another detector's marks on the same scans, to compare with
    #[arg(long, value_name = "MARKS")]
    pub against: Option<PathBuf>,
    /// How ids are compared
    #[arg(long, value_enum, default_value = "as-written")]
    pub ids: IdsArg,
    #[command(flatten)]
    pub bootstrap: BootstrapArgs,
    /// Folder to write froc.csv (the curve with its band) and `operating_points.csv` to
    #[arg(long)]
    pub out: Option<PathBuf>,
}

/// [`ScanIds`] on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum IdsArg {
    /// As series instance UIDs
    AsWritten,
    /// As whole numbers: 00783 is 783
    Integers,
}

impl From<IdsArg> for ScanIds {
    fn from(arg: IdsArg) -> Self {
        match arg {
            IdsArg::AsWritten => Self::AsWritten,
            IdsArg::Integers => Self::Integers,
        }
    }
}

/// How intervals are drawn.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct BootstrapArgs {
    /// Resamples of the scans for the 95% intervals; 0: no intervals
    #[arg(long, value_name = "N", default_value_t = RESAMPLES)]
    pub bootstrap: usize,
    /// Determines the resamples
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}
