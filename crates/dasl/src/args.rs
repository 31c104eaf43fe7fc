//! The command line.

mod archive;
mod evaluation;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use dasl_lidc::Rule;
use dasl_net::config::Preset;
use dasl_net::device::{Device, GpuError, gpu};

use crate::oracle_choice::OracleChoice;
use crate::shard::Shard;
pub use archive::{PickArgs, SeriesArgs};
pub use evaluation::{
    BootstrapArgs, EvaluateArgs, EvaluateReadersArgs, EvaluateSamplesArgs, EvaluateWhat, FrocArgs,
};

/// Nodules are 3 mm and more (paper); what is smaller is dropped by default.
pub const MIN_DIAMETER_MM: f64 = 3.0;

/// Outlines pulmonary nodules in chest CT, and learns to from few annotations.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Args {
    /// Print machine-readable results on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Threads to compute with [default: as many as the machine has]
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Import, learn, segment, evaluate and report on made-up scans: no data needed, some minutes
    Demo(DemoArgs),
    /// Turn scans into a dataset
    #[command(subcommand)]
    Import(Import),
    /// List the series of a DICOM archive, to choose from by --series
    Series(SeriesArgs),
    /// Put nodules into the lungs of other scans: more to train on
    Compose(ComposeArgs),
    /// Train a network on all annotations of a dataset
    Train(TrainArgs),
    /// Learn from few annotations: active and self-paced rounds with a reader, simulated or real
    Learn(LearnArgs),
    /// Compare ways to spend annotations: arms, sizes and seeds over one dataset
    Experiment(ExperimentArgs),
    /// Outline the nodules of scans
    Segment(SegmentArgs),
    /// Compare outlines with a dataset's reference, or readers with each other
    Evaluate(EvaluateArgs),
    /// Write a network as ONNX and safetensors, to run it elsewhere
    Export(ExportArgs),
    /// FROC curve and CPM of a detector's marks, by LUNA16's rules
    Froc(FrocArgs),
    /// One HTML file of what was run and how it did, several runs side by side
    Report(ReportArgs),
    /// Time the network and its kernels on this machine
    Bench(BenchArgs),
}

/// Where a dataset comes from.
#[derive(Debug, Subcommand)]
pub enum Import {
    /// A tree of DICOM series with LIDC-IDRI reader XML
    Lidc(ImportLidcArgs),
    /// Nodule volumes with their 50% consensus (index.csv, `consensus50_masks.npz`, image/)
    Voi(ImportVoiArgs),
    /// LUNA16: subset0 .. subset9 with annotations.csv and `annotations_excluded.csv`
    Luna16(ImportLuna16Args),
    /// Scans without annotations: DICOM series, NIfTI, MetaImage and NRRD files in any folders
    Scans(ImportScansArgs),
    /// What `dasl segment` found in scans of a dataset that nobody has annotated, as places to ask
    /// a reader about
    Candidates(ImportCandidatesArgs),
}

/// `dasl demo`
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// Folder to write to
    #[arg(long, default_value = "dasl-demo")]
    pub out: PathBuf,
    /// Determines every number
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// `dasl import lidc`
#[derive(Debug, clap::Args)]
pub struct ImportLidcArgs {
    /// Folder with patient/study/series/*.dcm and *.xml (any layout)
    pub src: PathBuf,
    /// Dataset folder; scans that are in it already are skipped
    #[arg(long)]
    pub out: PathBuf,
    /// Which voxels are nodule: pylidc, two-of-four or three-readers-union
    #[arg(long, default_value = "pylidc")]
    pub rule: Rule,
    /// Edge of the dataset's voxels, mm
    #[arg(long, default_value_t = 1.0, value_parser = spacing_mm)]
    pub spacing: f64,
}

/// `dasl import voi`
#[derive(Debug, clap::Args)]
pub struct ImportVoiArgs {
    /// Folder with index.csv, `consensus50_masks.npz` and image/
    pub src: PathBuf,
    /// Dataset folder; volumes that are in it already are skipped
    #[arg(long)]
    pub out: PathBuf,
    /// Edge of the dataset's voxels, mm
    #[arg(long, default_value_t = 1.0, value_parser = spacing_mm)]
    pub spacing: f64,
}

/// `dasl import luna16`
#[derive(Debug, clap::Args)]
pub struct ImportLuna16Args {
    /// Folder with subset*/*.mhd and the tables (any layout)
    pub src: PathBuf,
    /// Dataset folder; scans that are in it already are skipped
    #[arg(long)]
    pub out: PathBuf,
    /// Only these of the ten subsets, such as 0,1,2
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..10))]
    pub subset: Vec<u8>,
    /// Edge of the dataset's voxels, mm
    #[arg(long, default_value_t = 1.0, value_parser = spacing_mm)]
    pub spacing: f64,
}

impl ImportLuna16Args {
    /// Whether a scan's subset is asked for.
    pub fn takes(&self, scan: &Path) -> bool {
        let folder = scan.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let subset = folder.and_then(|name| name.strip_prefix("subset")?.parse().ok());
        self.subset.is_empty() || subset.is_some_and(|subset| self.subset.contains(&subset))
    }
}

/// `dasl import scans`
#[derive(Debug, clap::Args)]
pub struct ImportScansArgs {
    /// Folder of DICOM series and volume files in any layout, or one volume file
    pub src: PathBuf,
    /// Dataset folder; scans that are in it already are skipped
    #[arg(long)]
    pub out: PathBuf,
    /// Edge of the dataset's voxels, mm
    #[arg(long, default_value_t = 1.0, value_parser = spacing_mm)]
    pub spacing: f64,
    #[command(flatten)]
    pub pick: PickArgs,
}

/// `dasl import candidates`
#[derive(Debug, clap::Args)]
pub struct ImportCandidatesArgs {
    /// Folder that `dasl segment` wrote to, with one sub-folder per scan
    pub segmented: PathBuf,
    /// Dataset folder with the scans
    #[arg(long)]
    pub out: PathBuf,
    /// Score from which a nodule found is a candidate
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    pub from_score: f64,
}

/// `dasl compose`
#[derive(Debug, clap::Args)]
pub struct ComposeArgs {
    /// Dataset folder with the nodules
    pub nodules: PathBuf,
    /// Dataset folder with the scans to put them into
    pub backgrounds: PathBuf,
    /// Dataset folder; composed scans that are in it already are skipped
    #[arg(long)]
    pub out: PathBuf,
    /// Composed scans of each background
    #[arg(long, default_value_t = 1)]
    pub copies: usize,
    /// Nodules put into each
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub per_scan: usize,
    /// Of these, so many lie against the chest wall, the mediastinum or a vessel, if there is such a
    /// place [default: a third]
    #[arg(long, value_name = "N")]
    pub attached: Option<usize>,
    /// Pieces of lung without a nodule put into each, in the same way, so that the seam is no clue
    /// [default: as many as nodules]
    #[arg(long, value_name = "M")]
    pub nothing: Option<usize>,
    /// Determines nodules and places
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// File with the patients whose nodules are taken, one id a line [default: all]
    #[arg(long, value_name = "FILE")]
    pub patients: Option<PathBuf>,
    /// CSV file with the header scan,x0,y0,z0,x1,y1,z1 (mm, LPS): boxes of backgrounds to leave
    /// out, as if the scan ended there
    #[arg(long, value_name = "CSV")]
    pub exclude: Option<PathBuf>,
    /// Backgrounds that nobody has annotated were looked at: beside what --exclude leaves out they
    /// hold no nodule
    #[arg(long)]
    pub looked_at: bool,
    /// Write each composed CT as `nifti/SCAN.nii.gz` in the dataset folder too
    #[arg(long)]
    pub nifti: bool,
}

/// `dasl train`
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// Dataset folder
    pub dataset: PathBuf,
    /// Run folder: weights, checkpoint, configuration, log
    #[arg(long)]
    pub out: PathBuf,
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Go on with the run in --out
    #[arg(long)]
    pub resume: bool,
}

/// What network, how trained.
#[derive(Debug, clap::Args)]
pub struct NetworkArgs {
    /// Ready-made configuration [default: small]
    #[arg(long, value_enum)]
    pub preset: Option<PresetArg>,
    /// TOML file whose values replace the preset's, in the sections net, train, infer, learn and
    /// learn.engine
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Determines weights, split and patches [default: 1]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Share of the patients kept for validation
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub validation: f64,
    /// Begin with a finished network in place of fresh weights: a run's folder, or `built-in` for
    /// the network in the binary. Its shape replaces the preset's
    #[arg(long, value_name = "RUN")]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

impl NetworkArgs {
    /// The seed of a new run.
    pub fn new_seed(&self) -> u64 {
        self.seed.unwrap_or(1)
    }
}

/// Where the network runs.
#[derive(Debug, Clone, clap::Args)]
pub struct DeviceArgs {
    /// The processor, or a GPU (in builds with one: see the README)
    #[arg(long, value_enum, default_value = "cpu")]
    device: DeviceArg,
}

/// [`Device`] on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum DeviceArg {
    Cpu,
    Gpu,
}

impl DeviceArgs {
    /// The device.
    ///
    /// # Errors
    /// If there is no GPU.
    pub fn open(&self) -> Result<Device, GpuError> {
        match self.device {
            DeviceArg::Cpu => Ok(Device::flex()),
            DeviceArg::Gpu => gpu(),
        }
    }
}

/// `dasl learn`
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct LearnArgs {
    /// What to do instead of learning.
    #[command(subcommand)]
    pub what: Option<LearnWhat>,
    /// Dataset folder; its labels are hidden until the simulated reader is asked for them
    #[arg(required = true)]
    pub dataset: Option<PathBuf>,
    /// Run folder; a run that is in it goes on where it stood, by the settings that it began with
    #[arg(long, required = true)]
    pub out: Option<PathBuf>,
    /// Who annotates: labels (a simulated reader, who reveals the dataset's) or queue:DIR (a
    /// person, who answers in that folder) [default: labels]
    #[arg(long)]
    pub oracle: Option<OracleChoice>,
    /// Run of `dasl learn` whose reader's answers are known from the beginning: they count towards
    /// --initial and cost no budget; with --oracle queue:DIR
    #[arg(long, value_name = "RUN")]
    pub annotations: Option<PathBuf>,
    #[command(flatten)]
    pub network: NetworkArgs,
    /// Samples annotated before the first round [default: 50]
    #[arg(long)]
    pub initial: Option<usize>,
    /// Stages in order, joined by -: spl (self-paced: the network labels, nobody is asked) or al
    /// (active: the reader is asked); spl:2 is two rounds, spl:1:anew trains from the first weights on
    /// [default: spl-al-spl]
    #[arg(long)]
    pub sequence: Option<String>,
    /// How an active round chooses: dasl, least-confidence, entropy, largest-loss, suggestive,
    /// random, foreground-aware-random [default: dasl]
    #[arg(long)]
    pub strategy: Option<String>,
    /// CSV file with the header sample,most: the largest weight that a sample may have in
    /// self-paced rounds, 0 to 1
    #[arg(long)]
    pub curriculum: Option<PathBuf>,
    /// Annotations that the reader gives at most, the initial ones included
    #[arg(long)]
    pub budget: Option<usize>,
}

/// What else there is to do with a run.
#[derive(Debug, Subcommand)]
pub enum LearnWhat {
    /// Where a run stands, also while it goes on: round, annotations spent, what the reader has to
    /// do, scores
    Status(StatusArgs),
}

/// `dasl learn status`
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Run folder of `dasl learn`
    pub run: PathBuf,
}

/// `dasl experiment`
#[derive(Debug, clap::Args)]
pub struct ExperimentArgs {
    /// TOML file with dataset, preset, seeds, initial sizes and arms
    pub file: PathBuf,
    /// Folder to write to; runs that are in it already are not repeated
    #[arg(long)]
    pub out: PathBuf,
    /// Only the I-th of N shares of the runs, for job arrays on the same --out: such as 2/8, I from 1
    /// on; runs that begin alike are in one share
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Run nothing: say which runs are done and begun, and how those that are done came out
    #[arg(long, conflicts_with = "shard")]
    pub status: bool,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// `dasl segment`
#[derive(Debug, clap::Args)]
pub struct SegmentArgs {
    /// DICOM series and volume files (`NIfTI`, `MetaImage`, NRRD), and folders of them in any layout
    #[arg(required = true)]
    pub scans: Vec<PathBuf>,
    /// Run folder of `dasl train` or `dasl learn` [default: the network in the binary]
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Folder to write to, one sub-folder per scan; scans that are in it with the same model and
    /// settings are skipped, with others they are done anew
    #[arg(long)]
    pub out: PathBuf,
    /// Objectness from which a proposal is a nodule [default: the network's; that in the binary has 0.9]
    #[arg(long, value_parser = share)]
    pub threshold: Option<f64>,
    /// Diameter, of the sphere of equal volume, below which a nodule is dropped
    #[arg(long, value_name = "MM", default_value_t = MIN_DIAMETER_MM, value_parser = length_mm)]
    pub min_diameter: f64,
    /// Only the I-th of N shares of the scans, for job arrays: such as 2/8, I from 1 on
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    #[command(flatten)]
    pub pick: PickArgs,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// `dasl export`
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Run folder of `dasl train` or `dasl learn` [default: the network in the binary]
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Folder to write network.onnx, mask.onnx, weights.safetensors, config.toml and
    /// example.safetensors to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Also list the patients that it was trained on (trained-on.txt), so that figures on them are
    /// said to flatter; not where their identifiers are private
    #[arg(long)]
    pub patients: bool,
}

/// `dasl report`
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Folders that `dasl train`, `learn`, `experiment` or `evaluate` wrote to
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Folder to write report.html to
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// `dasl bench`
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Ready-made configuration
    #[arg(long, value_enum, default_value = "small")]
    pub preset: PresetArg,
    /// Edge of the patch in voxels, a multiple of 16
    #[arg(long, default_value_t = 128)]
    pub patch: usize,
    /// Only the network
    #[arg(long)]
    pub network: bool,
    /// Only the kernels
    #[arg(long, conflicts_with_all = ["network", "export"])]
    pub kernels: bool,
    /// Write weights, patch, outputs and times to this safetensors file, for comparisons
    #[arg(long)]
    pub export: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// [`Preset`] on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum PresetArg {
    /// For laptops, tests and the demo
    Tiny,
    /// The default
    Small,
    /// Layers per block as in the cited network
    Paper,
}

impl From<PresetArg> for Preset {
    fn from(arg: PresetArg) -> Self {
        match arg {
            PresetArg::Tiny => Self::Tiny,
            PresetArg::Small => Self::Small,
            PresetArg::Paper => Self::Paper,
        }
    }
}

fn spacing_mm(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(mm) if (0.2..=10.0).contains(&mm) => Ok(mm),
        _ => Err("a length from 0.2 to 10 mm is needed".into()),
    }
}

fn length_mm(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(mm) if (0.0..=100.0).contains(&mm) => Ok(mm),
        _ => Err("a length from 0 to 100 mm is needed".into()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a number from 0 to 1 is needed".into()),
    }
}
