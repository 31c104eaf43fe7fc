//! `dasl`: outlines pulmonary nodules in chest CT, and learns to from few annotations.

mod annotation_store;
mod args;
mod bench;
mod command;
mod compose;
mod config_file;
mod curriculum;
mod curve;
mod experiment;
mod found;
mod hidden_labels;
mod hounsfield;
mod model;
mod network_learner;
mod oracle_choice;
mod out_folder;
mod outline_picture;
mod paste;
mod progress;
mod queue;
mod report;
mod run_folder;
mod scan_list;
mod scan_name;
mod scan_size;
mod segmented_folder;
mod series_choice;
mod shard;
mod split;
mod spoiled;
mod table;
mod trained_on;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command, Import};

/// How a command that did not fail ended.
pub enum Outcome {
    /// All is done.
    Done,
    /// Some inputs were set aside; they are listed.
    SomeSetAside,
    /// The run waits for a reader.
    Waiting,
}

fn main() -> ExitCode {
    // Who pipes into `head` has read enough.
    sigpipe::reset();
    dasl_conv::keep_freed();
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("DASL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_env_filter(filter)
        .init();
    match run(args) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::SomeSetAside) => ExitCode::from(3),
        Ok(Outcome::Waiting) => ExitCode::from(4),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<Outcome> {
    let json = args.json;
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build_global()?;
    }
    match args.command {
        Command::Demo(args) => command::demo::run(&args, json),
        Command::Import(Import::Lidc(args)) => command::import_lidc::run(&args, json),
        Command::Import(Import::Voi(args)) => command::import_voi::run(&args, json),
        Command::Import(Import::Luna16(args)) => command::import_luna16::run(&args, json),
        Command::Import(Import::Scans(args)) => command::import_scans::run(&args, json),
        Command::Import(Import::Candidates(args)) => command::import_candidates::run(&args, json),
        Command::Series(args) => command::series::run(&args, json),
        Command::Compose(args) => command::compose::run(&args, json),
        Command::Train(args) => command::train::run(&args, json),
        Command::Learn(args) => command::learn::run(&args, json),
        Command::Experiment(args) => command::experiment::run(&args, json),
        Command::Segment(args) => command::segment::run(&args, json),
        Command::Evaluate(args) => command::evaluate::run(&args, json),
        Command::Export(args) => command::export::run(&args, json),
        Command::Froc(args) => command::froc::run(&args, json),
        Command::Report(args) => command::report::run(&args, json),
        Command::Bench(args) => command::bench::run(&args, json),
    }
}
