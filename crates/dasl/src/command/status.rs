//! `dasl learn status`: where a run of `dasl learn` stands, also while another process runs it.

use std::fmt;
use std::path::PathBuf;

use anyhow::{Result, bail};
use dasl_learn::state::{Phase, RoundRecord, RunState};
use dasl_learn::{FinishReason, Run, SampleId};
use serde::Serialize;

use crate::Outcome;
use crate::args::StatusArgs;
use crate::oracle_choice::OracleChoice;
use crate::queue::refused_name;
use crate::run_folder::RunFolder;
use crate::table;

/// What a reader has to do before a run can go on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Waiting {
    /// Where.
    folder: PathBuf,
    /// Samples that the round asks for.
    of: usize,
    /// Those without an answer that was taken.
    pending: Vec<SampleId>,
    /// Those whose answer was refused.
    refused: Vec<SampleId>,
}

impl Waiting {
    /// What a reader has to do; `None` if the run asks for nothing, or a simulated reader.
    pub fn of(state: &RunState, oracle: &OracleChoice) -> Option<Self> {
        let (Phase::Annotate { plan }, OracleChoice::Queue(folder)) = (&state.phase, oracle) else {
            return None;
        };
        let pending = plan.pending();
        if pending.is_empty() {
            return None;
        }
        let was_refused = |id: &&SampleId| folder.join(refused_name(id.as_str())).exists();
        let refused = pending.iter().filter(was_refused).cloned().collect();
        let of = plan.drawn.len() + plan.chosen.len();
        Some(Self { folder: folder.clone(), of, pending, refused })
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, of, pending, refused } = self;
        write!(f, "waiting for {} of {of}", pending.len())?;
        if !refused.is_empty() {
            write!(f, " ({} refused, see ID.refused.txt)", refused.len())?;
        }
        write!(
            f,
            ": for every ID.image.nii.gz in {} put ID.mask.nii.gz, ID.empty or ID.declined beside it",
            folder.display()
        )
    }
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Status<'a> {
    round: usize,
    kind: String,
    stage: String,
    next: String,
    spent: usize,
    budget: Option<usize>,
    pool: usize,
    annotated: usize,
    declined: usize,
    lambda: f64,
    best_round: Option<usize>,
    waiting: Option<Waiting>,
    history: &'a [RoundRecord],
}

/// Runs the command.
///
/// # Errors
/// If there is no run of `dasl learn`, or its state can't be read.
pub fn run(args: &StatusArgs, json: bool) -> Result<Outcome> {
    let folder = RunFolder::new(&args.run);
    let settings = folder.read_settings()?;
    if !folder.is_learning() {
        bail!("{} has no rounds: name a run of `dasl learn`", args.run.display());
    }
    let state = Run::read(&folder.rounds())?;
    let status = status(&state, &settings.learn.oracle);
    if json {
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(Outcome::Done);
    }
    println!("{}", render_status(&status));
    if !state.history.is_empty() {
        println!("\n{}", rounds(&state));
    }
    Ok(Outcome::Done)
}

fn status<'a>(state: &'a RunState, oracle: &OracleChoice) -> Status<'a> {
    let waiting = Waiting::of(state, oracle);
    // A run that is over is in no round.
    let last = state.history.last().filter(|_| matches!(state.phase, Phase::Finished { .. }));
    let (round, kind) = last.map_or((state.round, state.kind), |last| (last.round, last.kind));
    Status {
        round,
        kind: kind.to_string(),
        stage: stage(state),
        next: waiting.as_ref().map_or_else(|| next(state), ToString::to_string),
        spent: state.spent,
        budget: state.config.budget,
        pool: state.pool.len(),
        annotated: state.annotated.len(),
        declined: state.declined.len(),
        lambda: state.pace.lambda,
        best_round: state.best().map(|r| r.round),
        waiting,
        history: &state.history,
    }
}

/// The place in the sequence.
fn stage(state: &RunState) -> String {
    let sequence = &state.config.sequence;
    match (&state.phase, state.round) {
        (Phase::Finished { reason: FinishReason::SequenceEnded }, _) => {
            format!("all of {sequence} done")
        }
        (Phase::Finished { .. }, _) => format!("{sequence} ended"),
        (_, 0) => format!("initial training, before {sequence}"),
        _ => {
            let (stage, of) = (state.stage + 1, sequence.stages().len());
            format!("{stage} of {of} in {sequence}, {} of its rounds done", state.rounds_in_stage)
        }
    }
}

/// The next step, in words.
fn next(state: &RunState) -> String {
    match &state.phase {
        Phase::Start => "draw the initial samples".into(),
        Phase::Predict => "predict the pool and choose".into(),
        Phase::Annotate { plan } => format!("ask for {} annotations", plan.pending().len()),
        Phase::FineTune { plan } => format!(
            "train on {} annotated and {} pseudo-labelled samples",
            state.annotated.len(),
            plan.pseudo.len()
        ),
        Phase::Validate { .. } => "validate".into(),
        Phase::Finished { reason } => format!(
            "nothing: {}",
            match reason {
                FinishReason::SequenceEnded => "the sequence is done",
                FinishReason::BudgetSpent => "the budget is spent",
                FinishReason::PoolEmpty => "no sample is left",
            }
        ),
    }
}

fn render_status(status: &Status<'_>) -> String {
    let budget = status.budget.map_or_else(|| "no limit".into(), |b| format!("of {b}"));
    let mut lines = vec![
        format!("round      {} ({})", status.round, status.kind),
        format!("stage      {}", status.stage),
        format!("next       {}", status.next),
        format!("spent      {} annotations, {budget}", status.spent),
        format!(
            "samples    {} annotated, {} in the pool, {} declined",
            status.annotated, status.pool, status.declined
        ),
        format!("lambda     {:.4}", status.lambda),
    ];
    if let Some(round) = status.best_round {
        lines.push(format!("best       round {round}"));
    }
    lines.join("\n")
}

/// The rounds as a table.
pub fn rounds(state: &RunState) -> String {
    let header =
        ["round", "does", "annotated", "pseudo", "sum v", "lambda", "Dice", "TP Dice", "hit rate"];
    let row = |r: &RoundRecord| {
        let figure = |name: &str| table::figure(r.score.figures.get(name).copied());
        vec![
            r.round.to_string(),
            r.kind.to_string(),
            r.annotated.to_string(),
            r.pseudo.to_string(),
            format!("{:.1}", r.weight_sum),
            format!("{:.4}", r.lambda),
            figure("dice"),
            figure("tp_dice"),
            figure("hit_rate"),
        ]
    };
    table::render(&header, &state.history.iter().map(row).collect::<Vec<_>>())
}
