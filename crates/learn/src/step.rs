//! The steps of a round; each ends by saving the state that names the next.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::descriptor::Descriptors;
use crate::error::RunError;
use crate::learner::{FineTuneReport, Learner, Score};
use crate::ledger::{AnnotationSource, Entry, Ledger, PseudoLabelAudit, PseudoLabelSource, Usage};
use crate::max_cover::greedy;
use crate::observer::{Event, Observer};
use crate::oracle::{Answer, Oracle, Question, Request};
use crate::run_folder::{RunFolder, START_WEIGHTS, round_weights};
use crate::sample::{AnnotatedSample, PseudoSample, SampleId, SampleScore};
use crate::scoring::{Scoring, stop_on_break};
use crate::self_paced::weight_up_to;
use crate::sequence::RoundKind;
use crate::state::{Answered, Phase, PseudoChoice, RoundPlan, RoundRecord, RunState};
use crate::strategy::{Choice, Neighbour, Strategy, initial_choice};

/// Nearest samples that a reader is told of.
const NEAREST: usize = 3;

/// One step after the other; each ends by saving the state.
pub(crate) struct Step<'a> {
    pub(crate) folder: &'a RunFolder,
    pub(crate) ledger: &'a mut Ledger,
    pub(crate) state: &'a mut RunState,
    pub(crate) observer: &'a mut dyn Observer,
}

impl Step<'_> {
    pub(crate) fn tell(&mut self, event: &Event<'_>) -> Result<(), RunError> {
        stop_on_break(self.observer.event(event))
    }

    pub(crate) fn tell_round(&mut self) -> Result<(), RunError> {
        if matches!(self.state.phase, Phase::Finished { .. }) {
            return Ok(());
        }
        let state = &*self.state;
        let event = Event::Round {
            round: state.round,
            kind: state.kind,
            pool: state.pool.len(),
            annotated: state.annotated.len(),
        };
        stop_on_break(self.observer.event(&event))
    }

    fn save(&mut self, phase: Phase) -> Result<(), RunError> {
        self.state.phase = phase;
        self.save_as_is()
    }

    fn save_as_is(&mut self) -> Result<(), RunError> {
        self.folder.save_state(self.state)?;
        self.tell(&Event::StateSaved)
    }

    /// The generator of this round: one seed, one stream per round.
    fn rng(&self) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.state.config.seed);
        rng.set_stream(self.state.round as u64);
        rng
    }

    /// Saves the untrained weights and draws the initial samples.
    pub(crate) fn start<L: Learner>(&mut self, learner: &mut L) -> Result<(), RunError> {
        self.folder.save_weights(learner, START_WEIGHTS, 0)?;
        let state = &*self.state;
        let wanted = state.config.initial.saturating_sub(state.annotated.len());
        let n = wanted.min(state.budget_left().unwrap_or(usize::MAX));
        let drawn = initial_choice(&state.pool, n, &mut self.rng());
        self.state.weights = Some(START_WEIGHTS.to_owned());
        self.save(Phase::Annotate { plan: RoundPlan { drawn, ..RoundPlan::default() } })
    }

    /// Looks at the pool: an active round chooses what to annotate, a self-paced one weighs; one
    /// that does both weighs what it did not choose.
    pub(crate) fn predict<L: Learner>(&mut self, learner: &mut L) -> Result<(), RunError> {
        let config = &self.state.config;
        let active = self.state.kind == RoundKind::Al;
        let committee = active && config.strategy == Strategy::Suggestive;
        // beta = 0 is Eq. (2): no density needed.
        let density = active && config.strategy.needs_density() && config.beta > 0.0;
        let scoring = Scoring {
            round: self.state.round,
            descriptors: density || committee,
            density,
            memory_bytes: config.descriptor_bytes,
            scratch_folder: self.folder.path(),
        };
        let (mut scores, descriptors) = scoring.score(learner, &self.state.pool, self.observer)?;
        if committee {
            let resamples = self.resamples(config.committee);
            let found =
                scoring.disagreements(learner, &resamples, &self.state.pool, self.observer)?;
            scores.iter_mut().zip(found).for_each(|(s, variance)| s.variance = Some(variance));
            if let Some(weights) = &self.state.weights {
                self.folder.load_weights(learner, weights, self.state.round)?;
            }
        }
        self.folder.save_scores(self.state.round, &scores)?;
        if !active {
            let plan = RoundPlan { pseudo: self.weighed(&scores, &[]), ..RoundPlan::default() };
            return self.save(Phase::FineTune { plan });
        }
        let chosen = self.choose(&scores, descriptors)?;
        let both = self.state.config.pseudo_in_active;
        let pseudo = if both { self.weighed(&scores, &chosen) } else { Vec::new() };
        self.save(Phase::Annotate { plan: RoundPlan { chosen, pseudo, ..RoundPlan::default() } })
    }

    /// The samples whose weight by Eq. (8) is above 0, without those chosen for annotation.
    fn weighed(&self, scores: &[SampleScore], chosen: &[Choice]) -> Vec<PseudoChoice> {
        let (config, lambda) = (&self.state.config, self.state.pace.lambda);
        let most = |id: &SampleId| config.curriculum.get(id).copied().unwrap_or(1.0);
        let asked: BTreeSet<&SampleId> = chosen.iter().map(|c| &c.sample.id).collect();
        scores
            .iter()
            .filter(|s| !asked.contains(&s.id))
            .map(|s| PseudoChoice {
                weight: weight_up_to(most(&s.id), config.c, s.loss, lambda),
                sample: s.id.clone(),
                loss: s.loss,
                uncertainty: s.uncertainty,
            })
            .filter(|p| p.weight > 0.0)
            .collect()
    }

    /// The annotated samples, drawn with replacement for each member of a committee.
    fn resamples(&self, members: usize) -> Vec<Vec<AnnotatedSample>> {
        let annotated = &self.state.annotated;
        let mut rng = self.rng();
        // Apart from the stream that the round's choices are drawn from.
        rng.set_stream(self.state.round as u64 | 1 << 63);
        let mut draw = || annotated[rng.random_range(0..annotated.len())].clone();
        (0..members).map(|_| annotated.iter().map(|_| draw()).collect()).collect()
    }

    /// What an active round has annotated, with the nearest samples of each.
    fn choose(
        &self,
        scores: &[SampleScore],
        descriptors: Option<Descriptors>,
    ) -> Result<Vec<Choice>, RunError> {
        let config = &self.state.config;
        let n = config.per_round.min(self.state.budget_left().unwrap_or(usize::MAX));
        let suggestive = config.strategy == Strategy::Suggestive;
        let asked = if suggestive { config.candidates().max(n) } else { n };
        let mut chosen = config.selection().select(scores, asked, &mut self.rng());
        let Some(mut descriptors) = descriptors else { return Ok(chosen) };
        // The pool is sorted by id.
        let pool = &self.state.pool;
        let place = |c: &Choice| pool.binary_search(&c.sample.id).unwrap_or_default();
        let places: Vec<usize> = chosen.iter().map(place).collect();
        let mut cosines = descriptors.cosines(&places).map_err(RunError::io(self.folder.path()))?;
        if suggestive {
            (chosen, cosines) = greedy(&cosines, n)
                .into_iter()
                .map(|(i, gain)| {
                    (Choice { score: Some(gain), ..chosen[i].clone() }, cosines[i].clone())
                })
                .unzip();
        }
        for (choice, cosines) in chosen.iter_mut().zip(&cosines) {
            choice.nearest = nearest(pool, &choice.sample.id, cosines);
        }
        Ok(chosen)
    }

    /// Asks the oracle; returns what it has not answered yet, or goes on.
    pub(crate) fn annotate<L: Learner, O: Oracle>(
        &mut self,
        mut plan: RoundPlan,
        learner: &mut L,
        oracle: &mut O,
    ) -> Result<Option<Vec<SampleId>>, RunError> {
        let round = self.state.round;
        let asked = plan.pending();
        if !asked.is_empty() {
            self.tell(&Event::Asking { samples: &asked })?;
            let answers = oracle.annotate(&self.request(&plan, &asked)).map_err(|source| {
                RunError::Oracle {
                    round,
                    oracle: oracle.name().to_owned(),
                    source: Box::new(source),
                }
            })?;
            for answer in answers {
                let id = answer.id().clone();
                if !asked.contains(&id) || plan.answers.contains_key(&id) {
                    let oracle = oracle.name().to_owned();
                    return Err(RunError::NotAsked { round, oracle, id });
                }
                plan.answers.insert(id, Answered { answer, by: oracle.name().to_owned() });
            }
            let pending = plan.pending();
            self.save(Phase::Annotate { plan: plan.clone() })?;
            if !pending.is_empty() {
                self.tell(&Event::Waiting { pending: &pending })?;
                return Ok(Some(pending));
            }
        }
        plan.audits = self.audit(&plan, learner)?;
        self.move_answered(&plan);
        self.save(Phase::FineTune { plan })?;
        Ok(None)
    }

    fn request(&self, plan: &RoundPlan, asked: &[SampleId]) -> Request {
        let question = |sample: &SampleId| Question {
            sample: sample.clone(),
            choice: plan.chosen.iter().find(|c| c.sample.id == *sample).cloned(),
        };
        Request {
            round: self.state.round,
            kind: self.state.kind,
            strategy: self.state.config.strategy,
            weights: self.folder.path().join(self.state.weights.as_deref().unwrap_or_default()),
            of: plan.drawn.len() + plan.chosen.len(),
            questions: asked.iter().map(question).collect(),
        }
    }

    /// Compares pseudo-labels with the new annotations: of each sample the one it was last
    /// trained on with, given by the weights at the beginning of that round.
    fn audit<L: Learner>(
        &mut self,
        plan: &RoundPlan,
        learner: &mut L,
    ) -> Result<BTreeMap<SampleId, PseudoLabelAudit>, RunError> {
        let mut by_round = BTreeMap::<usize, Vec<SampleId>>::new();
        for Answered { answer, .. } in plan.answers.values() {
            if let (Answer::Annotated { id, .. }, Some(&round)) =
                (answer, self.state.last_pseudo.get(answer.id()))
            {
                by_round.entry(round).or_default().push(id.clone());
            }
        }
        let now = self.state.round;
        let mut audits = BTreeMap::new();
        for (&round, samples) in &by_round {
            self.folder.load_weights(learner, &weights_before(round), now)?;
            let found = learner.audit(samples).map_err(RunError::learner(now, "audit"))?;
            let sound = found.len() == samples.len()
                && found
                    .iter()
                    .all(|a| a.dice.is_finite() && a.precision.is_none_or(f64::is_finite));
            if !sound {
                let what = "audit".to_owned();
                let problem = "is not one finite result for every sample";
                return Err(RunError::LearnerResult { round: now, what, problem });
            }
            for (id, audit) in samples.iter().zip(found) {
                audits.insert(id.clone(), PseudoLabelAudit { round, audit });
            }
        }
        if let (false, Some(weights)) = (by_round.is_empty(), self.state.weights.clone()) {
            self.folder.load_weights(learner, &weights, now)?;
        }
        Ok(audits)
    }

    /// Takes answered samples out of the pool.
    fn move_answered(&mut self, plan: &RoundPlan) {
        let state = &mut *self.state;
        for Answered { answer, by } in plan.answers.values() {
            let id = answer.id().clone();
            state.last_pseudo.remove(&id);
            match answer {
                Answer::Annotated { .. } => {
                    state.spent += 1;
                    state.annotated.push(AnnotatedSample { id, by: by.clone() });
                }
                Answer::Declined { .. } => state.declined.push(id),
            }
        }
        state.pool.retain(|id| !plan.answers.contains_key(id));
        state.annotated.sort();
        state.declined.sort();
    }

    pub(crate) fn fine_tune<L: Learner>(
        &mut self,
        plan: RoundPlan,
        learner: &mut L,
    ) -> Result<(), RunError> {
        let round = self.state.round;
        let pseudo: Vec<PseudoSample> = plan
            .pseudo
            .iter()
            .filter_map(|p| PseudoSample::new(p.sample.clone(), p.weight))
            .collect();
        self.tell(&Event::FineTuning {
            annotated: self.state.annotated.len(),
            pseudo: pseudo.len(),
            weight_sum: weight_sum(&plan),
        })?;
        let report = if self.state.annotated.is_empty() && pseudo.is_empty() {
            None
        } else {
            let report = learner
                .fine_tune(&self.state.annotated, &pseudo, round, self.state.trains_anew())
                .map_err(RunError::learner(round, "fine-tune"))?;
            if !(report.mean_accuracy.is_finite() && report.mean_loss.is_finite()) {
                let what = "accuracy or loss".to_owned();
                return Err(RunError::LearnerResult { round, what, problem: "is not finite" });
            }
            Some(report)
        };
        let weights = round_weights(round);
        self.folder.save_weights(learner, &weights, round)?;
        self.state.weights = Some(weights);
        self.save(Phase::Validate { plan, report })
    }

    /// Validates, writes the ledger, sets the pace and closes the round.
    pub(crate) fn validate<L: Learner>(
        &mut self,
        plan: &RoundPlan,
        report: Option<FineTuneReport>,
        learner: &mut L,
    ) -> Result<(), RunError> {
        self.tell(&Event::Validating)?;
        let round = self.state.round;
        let score = learner.validate().map_err(RunError::learner(round, "validate"))?;
        if !(score.value.is_finite() && score.figures.values().all(|v| v.is_finite())) {
            let what = "validation score".to_owned();
            return Err(RunError::LearnerResult { round, what, problem: "is not finite" });
        }
        let record = self.record(plan, report, score);
        self.state.ledger = self.ledger.append(&self.entries(plan))?;
        self.tell(&Event::Recorded { record: &record })?;
        self.state.history.push(record);
        for pseudo in &plan.pseudo {
            self.state.last_pseudo.insert(pseudo.sample.clone(), round);
        }
        if self.state.kind == RoundKind::Spl {
            let config = &self.state.config;
            let eta = report.map_or(0.0, |r| r.mean_accuracy);
            self.state.pace = self.state.pace.next(config.alpha, eta, config.tau);
        }
        self.state.next_round();
        self.save_as_is()?;
        self.tell_round()
    }

    fn record(
        &self,
        plan: &RoundPlan,
        report: Option<FineTuneReport>,
        score: Score,
    ) -> RoundRecord {
        let audits = &plan.audits;
        let dice: f64 = audits.values().map(|a| a.audit.dice).sum();
        RoundRecord {
            round: self.state.round,
            kind: self.state.kind,
            lambda: self.state.pace.lambda,
            pool: self.state.pool.len(),
            annotated: self.state.annotated.len(),
            spent: self.state.spent,
            pseudo: plan.pseudo.len(),
            weight_sum: weight_sum(plan),
            audit_dice: (!audits.is_empty()).then(|| dice / audits.len() as f64),
            report,
            score,
            weights: round_weights(self.state.round),
        }
    }

    /// The round's ledger entries, by sample.
    fn entries(&self, plan: &RoundPlan) -> Vec<Entry> {
        let (round, kind) = (self.state.round, self.state.kind);
        let mut entries = Vec::new();
        let mut push = |sample: &SampleId, usage| {
            entries.push(Entry { round, kind, sample: sample.clone(), usage });
        };
        if kind == RoundKind::Initial {
            for given in self.state.annotated.iter().filter(|a| !plan.answers.contains_key(&a.id)) {
                push(&given.id, Usage::Given { label: AnnotationSource::given(&given.by) });
            }
        }
        for Answered { answer, by } in plan.answers.values() {
            let id = answer.id();
            let label = AnnotationSource::oracle(by);
            let usage = match (answer, plan.chosen.iter().find(|c| c.sample.id == *id)) {
                (Answer::Declined { .. }, _) => Usage::Declined { by: by.clone() },
                (&Answer::Annotated { foreground_voxels, .. }, None) => {
                    Usage::Initial { label, foreground_voxels }
                }
                (&Answer::Annotated { foreground_voxels, .. }, Some(choice)) => Usage::Annotated {
                    label,
                    foreground_voxels,
                    score: choice.score,
                    uncertainty: choice.sample.uncertainty,
                    density: choice.sample.density,
                    loss: choice.sample.loss,
                    audit: plan.audits.get(id).cloned(),
                },
            };
            push(id, usage);
        }
        for pseudo in &plan.pseudo {
            push(
                &pseudo.sample,
                Usage::Pseudo {
                    label: PseudoLabelSource::Pseudo,
                    labelled_by: weights_before(round),
                    weight: pseudo.weight,
                    loss: pseudo.loss,
                    lambda: self.state.pace.lambda,
                    uncertainty: pseudo.uncertainty,
                },
            );
        }
        entries.sort_by(|a, b| a.sample.cmp(&b.sample));
        entries
    }
}

/// The samples of the pool most like one of them, nearest first; of equally near ones the smaller
/// id first. `cosines` are its similarities to the pool.
fn nearest(pool: &[SampleId], to: &SampleId, cosines: &[f64]) -> Vec<Neighbour> {
    let others = pool.iter().zip(cosines).filter(|(id, _)| *id != to);
    let mut near: Vec<Neighbour> =
        others.map(|(id, &cosine)| Neighbour { sample: id.clone(), cosine }).collect();
    near.sort_by(|a, b| b.cosine.total_cmp(&a.cosine).then_with(|| a.sample.cmp(&b.sample)));
    near.truncate(NEAREST);
    near
}

/// Folder of the weights a round begins with.
fn weights_before(round: usize) -> String {
    round.checked_sub(1).map_or_else(|| START_WEIGHTS.to_owned(), round_weights)
}

fn weight_sum(plan: &RoundPlan) -> f64 {
    // Not `sum`: that of nothing is -0.
    plan.pseudo.iter().fold(0.0, |sum, p| sum + p.weight)
}
