//! What the rounds do: sequences, budgets, pools of every size, and that learning works.

mod toy;

use std::collections::BTreeMap;

use dasl_learn::ledger::read_ledger;
use dasl_learn::{
    AnnotatedSample, Entry, FinishReason, LearnConfig, Outcome, PseudoSample, Request, RoundKind,
    Run, RunError, RunState, SampleId, Strategy, Usage,
};
use toy::{FRESH, Labels, Logistic, World};

struct Ran {
    outcome: Outcome,
    state: RunState,
    entries: Vec<Entry>,
    seen: Vec<(Vec<AnnotatedSample>, Vec<PseudoSample>)>,
    asked: Vec<SampleId>,
    entered_with: BTreeMap<usize, [f64; 3]>,
    went_on_from: BTreeMap<usize, [f64; 3]>,
    audited_with: BTreeMap<SampleId, [f64; 3]>,
    requests: Vec<Request>,
}

fn run_with(world: &World, config: LearnConfig, mut oracle: Labels) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = Run::create(folder.path(), config, world.ids(), Vec::new()).expect("a run");
    let mut learner = Logistic::new(world);
    let outcome = run.advance(&mut learner, &mut oracle, &mut ()).expect("an outcome");
    let state = run.state().clone();
    let entries = read_ledger(&run.ledger_path(), state.ledger).expect("a ledger");
    Ran {
        outcome,
        state,
        entries,
        seen: learner.seen,
        asked: oracle.asked,
        requests: oracle.requests,
        entered_with: learner.entered_with,
        went_on_from: learner.went_on_from,
        audited_with: learner.audited_with,
    }
}

fn run(world: &World, config: LearnConfig) -> Ran {
    run_with(world, config, Labels::default())
}

fn config(sequence: &str) -> LearnConfig {
    LearnConfig {
        initial: 4,
        per_round: 4,
        sequence: sequence.parse().expect("a sequence"),
        spl_rounds: 2,
        al_rounds: 3,
        lambda_0: 0.2,
        alpha: 0.05,
        ..LearnConfig::default()
    }
}

fn kinds(ran: &Ran) -> Vec<String> {
    ran.state.history.iter().map(|r| r.kind.to_string()).collect()
}

const ENDED: Outcome = Outcome::Finished(FinishReason::SequenceEnded);

#[test]
fn the_papers_sequence() {
    let ran = run(&World::new(80), config("spl-al-spl"));
    assert_eq!(ran.outcome, ENDED);
    assert_eq!(kinds(&ran), ["initial", "spl", "spl", "al", "al", "al", "spl", "spl"]);
    assert_eq!((ran.state.annotated.len(), ran.state.pool.len()), (16, 64));
    let history = &ran.state.history;
    // Eq. (9): the pace rises with each self-paced round by alpha times its accuracy.
    for t in [1, 2, 6] {
        let next = if t == 2 { 6 } else { t + 1 };
        let eta = history[t].report.expect("a report").mean_accuracy;
        assert!((history[next].lambda - history[t].lambda - 0.05 * eta).abs() < 1e-12);
    }
    assert!((history[1].lambda - 0.2).abs() < 1e-15);
    assert!((history[5].lambda - history[6].lambda).abs() < 1e-15);
    // Active rounds train on annotations alone, self-paced ones on pseudo-labels too.
    for (record, (annotated, pseudo)) in history.iter().zip(&ran.seen) {
        assert_eq!((record.annotated, record.pseudo), (annotated.len(), pseudo.len()));
        assert_eq!(pseudo.is_empty(), record.kind != RoundKind::Spl);
    }
}

#[test]
fn rounds_go_on_from_the_last_ones_or_train_anew() {
    let ran = run(&World::new(80), config("spl:1-al:1:anew-spl:1-spl:1:anew"));
    assert_eq!(kinds(&ran), ["initial", "spl", "al", "spl", "spl"]);
    for (round, anew) in [(0, true), (1, false), (2, true), (3, false), (4, true)] {
        let bits = |weights: [f64; 3]| weights.map(f64::to_bits);
        let (entered, from) = (bits(ran.entered_with[&round]), bits(ran.went_on_from[&round]));
        assert_eq!(from, if anew { bits(FRESH) } else { entered }, "round {round}");
        // Also then the pseudo-labels are those of the round before.
        assert_eq!(entered == bits(FRESH), round == 0);
    }
    assert!(!ran.seen[4].1.is_empty());
}

#[test]
fn the_loop_learns() {
    let ran = run(&World::new(300), config("spl-al-spl"));
    let scores: Vec<f64> = ran.state.history.iter().map(|r| r.score.value).collect();
    let (first, last) = (scores[0], scores[scores.len() - 1]);
    assert!(last > first && last > 0.93, "{scores:?}");
}

#[test]
fn active_choices_lie_nearer_to_the_boundary_than_chance() {
    let world = World::new(300);
    let distance = |strategy| {
        let ran = run(&world, LearnConfig { strategy, ..config("al") });
        let chosen: Vec<f64> = ran
            .entries
            .iter()
            .filter(|e| matches!(e.usage, Usage::Annotated { .. }))
            .map(|e| world.points[&e.sample].0.iter().sum::<f64>().abs())
            .collect();
        assert_eq!(chosen.len(), 12);
        chosen.iter().sum::<f64>() / 12.0
    };
    let chance = distance(Strategy::Random);
    assert!(distance(Strategy::LeastConfidence) < 0.5 * chance);
    assert!(distance(Strategy::Dasl) < 0.8 * chance);
}

#[test]
fn suggestive_annotation_takes_n_of_the_k_that_the_committee_differs_on() {
    let world = World::new(60);
    let config = LearnConfig {
        strategy: Strategy::Suggestive,
        candidates: Some(6),
        al_rounds: 1,
        ..config("al")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = Run::create(folder.path(), config, world.ids(), Vec::new()).expect("a run");
    let (mut learner, mut oracle) = (Logistic::new(&world), Labels::default());
    run.advance(&mut learner, &mut oracle, &mut ()).expect("an outcome");
    let scores = std::fs::read_to_string(folder.path().join("rounds/0001/scores.jsonl"));
    let variance = |line: &str| {
        let score: dasl_learn::SampleScore = serde_json::from_str(line).expect("a score");
        (score.variance.expect("a committee"), score.id)
    };
    let mut by_variance: Vec<_> = scores.expect("scores").lines().map(variance).collect();
    assert!(by_variance.iter().any(|(v, _)| *v > 0.0), "the members are the same");
    by_variance.sort_by(|a, b| b.0.total_cmp(&a.0));
    let candidates: Vec<&SampleId> = by_variance[..6].iter().map(|(_, id)| id).collect();
    let chosen = &oracle.asked[4..];
    assert_eq!(chosen.len(), 4);
    assert!(chosen.iter().all(|id| candidates.contains(&id)), "{chosen:?} of {candidates:?}");
    // The first choice covers the pool best, so its gain is the largest.
    let gains = oracle.requests[1].questions.iter().map(|q| q.choice.as_ref()?.score);
    let gains: Vec<f64> = gains.collect::<Option<_>>().expect("scores");
    assert!(gains.windows(2).all(|w| w[0] >= w[1]), "{gains:?}");
    // The committee leaves no trace in the weights that are fine-tuned.
    let dasl = self::run(&world, LearnConfig { al_rounds: 1, ..self::config("al") });
    let bits = |learner: &BTreeMap<usize, [f64; 3]>| learner[&1].map(f64::to_bits);
    assert_eq!(bits(&learner.entered_with), bits(&dasl.entered_with));
}

#[test]
fn the_oracle_is_told_why() {
    let ran = run(&World::new(40), config("al:1"));
    let [initial, active] = &ran.requests[..] else { panic!("{:?}", ran.requests) };
    assert_eq!((initial.round, initial.kind, initial.of), (0, RoundKind::Initial, 4));
    assert!(initial.weights.ends_with("start/weights"));
    assert!(initial.questions.iter().all(|q| q.choice.is_none()));
    assert_eq!((active.round, active.kind, active.of), (1, RoundKind::Al, 4));
    assert!(active.weights.ends_with("rounds/0000/weights"));
    for question in &active.questions {
        let choice = question.choice.as_ref().expect("a choice");
        assert_eq!(choice.sample.id, question.sample);
        assert!(choice.score.is_some() && choice.sample.density.is_some());
        let near = &choice.nearest;
        assert_eq!(near.len(), 3);
        assert!(near.iter().all(|n| n.sample != question.sample && n.cosine <= 1.0));
        assert!(near[0].cosine >= near[1].cosine && near[1].cosine >= near[2].cosine);
    }
}

#[test]
fn a_curriculum_bounds_the_weights_of_pseudo_labels() {
    let world = World::new(40);
    let free = run(&world, config("spl:2"));
    let weights = |ran: &Ran| {
        let weight = |e: &Entry| match e.usage {
            Usage::Pseudo { weight, .. } => Some(((e.round, e.sample.clone()), weight)),
            _ => None,
        };
        ran.entries.iter().filter_map(weight).collect::<BTreeMap<_, _>>()
    };
    let free_weights = weights(&free);
    let mut heaviest: Vec<_> = free_weights.iter().filter(|((round, _), _)| *round == 1).collect();
    heaviest.sort_by(|a, b| b.1.total_cmp(a.1));
    let (out, less) = (heaviest[0].0.1.clone(), heaviest[1].0.1.clone());
    let curriculum = BTreeMap::from([(out.clone(), 0.0), (less.clone(), 0.01)]);
    let bound = weights(&run(&world, LearnConfig { curriculum, ..config("spl:2") }));
    assert!(bound.keys().all(|(_, sample)| *sample != out));
    assert!((bound[&(1, less.clone())] - 0.01).abs() < 1e-15);
    for (key, weight) in bound.iter().filter(|((round, id), _)| *round == 1 && *id != less) {
        assert_eq!(free_weights[key].to_bits(), weight.to_bits());
    }
}

#[test]
fn the_pace_stands_still_from_tau_on() {
    let ran = run(&World::new(60), LearnConfig { tau: 3, ..config("spl:6") });
    let lambda: Vec<f64> = ran.state.history[1..].iter().map(|r| r.lambda).collect();
    // Round n of them works with lambda^(n - 1): t = 1, 2 rise, t = 3, 4, 5 do not.
    assert!(lambda[0] < lambda[1] && lambda[1] < lambda[2]);
    assert!(lambda[2..].iter().all(|l| l.to_bits() == lambda[2].to_bits()), "{lambda:?}");
}

#[test]
fn active_only_and_self_paced_only() {
    let world = World::new(60);
    let active = run(&world, config("al"));
    assert_eq!(kinds(&active), ["initial", "al", "al", "al"]);
    assert_eq!(active.state.annotated.len(), 16);
    assert!(active.state.history.iter().all(|r| r.pseudo == 0));
    let paced = run(&world, config("spl"));
    assert_eq!(kinds(&paced), ["initial", "spl", "spl"]);
    assert_eq!((paced.state.annotated.len(), paced.asked.len()), (4, 4));
    assert!(paced.state.history[2].weight_sum > 0.0);
}

#[test]
fn the_ledger_tells_annotations_from_pseudo_labels() {
    told_apart(&run(&World::new(80), config("spl-al-spl")));
}

#[test]
fn active_rounds_train_on_pseudo_labels_where_they_are_to() {
    let world = World::new(80);
    let both = LearnConfig { pseudo_in_active: true, ..config("spl:1-al") };
    let ran = run(&world, both.clone());
    told_apart(&ran);
    let [_, paced, active @ ..] = &ran.state.history[..] else { panic!("too few rounds") };
    assert!(active.iter().all(|r| r.pseudo > 0));
    let paces: Vec<u64> = active.iter().map(|r| r.lambda.to_bits()).collect();
    assert!(paces.len() == 3 && paces.iter().all(|pace| *pace == paces[0]));
    assert!(active[0].lambda > paced.lambda);
    // What an active round asks for and whom it trains on are apart, also where nobody answers.
    let silent = Labels { declines: vec![ran.asked[4].clone()], ..Labels::default() };
    let ran = run_with(&world, both, silent);
    assert_eq!(ran.state.declined, [ran.asked[4].clone()]);
    for (annotated, pseudo) in &ran.seen[2..] {
        let mut all: Vec<&SampleId> = annotated.iter().map(|a| &a.id).collect();
        all.extend(pseudo.iter().map(PseudoSample::id));
        assert!(!all.contains(&&ran.asked[4]));
        all.sort();
        assert!(all.windows(2).all(|two| two[0] != two[1]));
    }
}

/// Of each sample a ledger says what it was used with, and audits the right pseudo-labels.
fn told_apart(ran: &Ran) {
    let mut annotated_in = BTreeMap::new();
    let mut pseudo_in = BTreeMap::<&SampleId, Vec<usize>>::new();
    let mut audits = 0;
    for entry in &ran.entries {
        match &entry.usage {
            Usage::Initial { .. } | Usage::Annotated { .. } => {
                assert_eq!(annotated_in.insert(&entry.sample, entry.round), None);
            }
            Usage::Pseudo { weight, loss, lambda, labelled_by, .. } => {
                assert!((weight - (1.0 - loss / lambda)).abs() < 1e-12);
                assert_eq!(*labelled_by, format!("rounds/{:04}/weights", entry.round - 1));
                assert!(!annotated_in.contains_key(&entry.sample), "pseudo after annotation");
                pseudo_in.entry(&entry.sample).or_default().push(entry.round);
            }
            other => panic!("unexpected {other:?}"),
        }
        if let Usage::Annotated { audit, .. } = &entry.usage {
            // Audited if and only if it was trained on with a pseudo-label, of the last such round.
            let last = pseudo_in.get(&entry.sample).and_then(|rounds| rounds.last());
            assert_eq!(audit.as_ref().map(|a| a.round), last.copied());
            // And by the weights that gave that pseudo-label, not by later ones.
            let labelled_with = last.map(|round| ran.entered_with[round]);
            assert_eq!(ran.audited_with.get(&entry.sample).copied(), labelled_with);
            audits += usize::from(audit.is_some());
        }
    }
    assert!(audits > 0, "nothing was audited");
    assert_eq!(annotated_in.len(), ran.state.annotated.len());
    let pseudo: usize = ran.state.history.iter().map(|r| r.pseudo).sum();
    assert_eq!(pseudo, pseudo_in.values().map(Vec::len).sum::<usize>());
}

#[test]
fn a_budget_is_kept_and_leaves_self_paced_rounds() {
    let world = World::new(60);
    let ran = run(&world, LearnConfig { budget: Some(10), ..config("spl-al-spl") });
    // 4 initial, then 4 and 2; the third active round is not held.
    assert_eq!(kinds(&ran), ["initial", "spl", "spl", "al", "al", "spl", "spl"]);
    assert_eq!((ran.outcome, ran.state.spent, ran.asked.len()), (ENDED, 10, 10));
    let ran = run(&world, LearnConfig { budget: Some(10), ..config("al") });
    assert_eq!(ran.outcome, Outcome::Finished(FinishReason::BudgetSpent));
    let ran = run(&world, LearnConfig { budget: Some(3), ..config("al") });
    assert_eq!((ran.state.spent, kinds(&ran).len()), (3, 1));
}

#[test]
fn a_pool_smaller_than_asked_for() {
    let ran = run(&World::new(7), config("al-spl"));
    assert_eq!(ran.outcome, Outcome::Finished(FinishReason::PoolEmpty));
    assert_eq!(kinds(&ran), ["initial", "al"]);
    assert_eq!(ran.state.annotated.len(), 7);
    let ran = run(&World::new(3), config("al-spl"));
    assert_eq!((ran.state.annotated.len(), kinds(&ran).len()), (3, 1));
}

#[test]
fn a_pool_of_one() {
    let ran = run(&World::new(5), config("spl-al"));
    assert_eq!(ran.outcome, Outcome::Finished(FinishReason::PoolEmpty));
    assert_eq!(kinds(&ran), ["initial", "spl", "spl", "al"]);
    let last = ran.entries.last().expect("an entry");
    let Usage::Annotated { density, score, uncertainty, .. } = &last.usage else {
        panic!("{last:?}");
    };
    // D = 1: density 1, so Eq. (3) is Eq. (2).
    assert_eq!((*density, *score), (Some(1.0), Some(*uncertainty)));
}

#[test]
fn no_initial_sample_is_a_run_from_given_weights() {
    let ran = run(&World::new(20), LearnConfig { initial: 0, ..config("al:1") });
    assert_eq!(ran.state.history[0].report, None);
    assert_eq!(ran.state.annotated.len(), 4);
}

#[test]
fn samples_annotated_before_count_as_initial_and_cost_nothing() {
    let world = World::new(20);
    let mut given = world.ids();
    let pool = given.split_off(3);
    let given: Vec<_> =
        given.into_iter().map(|id| AnnotatedSample { id, by: "import".into() }).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let mut run = Run::create(folder.path(), config("al:1"), pool, given.clone()).expect("a run");
    let mut learner = Logistic::new(&world);
    run.advance(&mut learner, &mut Labels::default(), &mut ()).expect("an outcome");
    assert_eq!((run.state().spent, run.state().annotated.len()), (1 + 4, 3 + 1 + 4));
    let entries = read_ledger(&run.ledger_path(), run.state().ledger).expect("a ledger");
    let from_before =
        entries.iter().filter(|e| matches!(e.usage, Usage::Given { .. })).map(|e| &e.sample);
    assert!(from_before.eq(given.iter().map(|g| &g.id)));
}

#[test]
fn declined_samples_leave_the_pool_and_cost_nothing() {
    let world = World::new(30);
    let first = run(&world, config("al:2"));
    let declined = first.asked[5].clone();
    let oracle = Labels { declines: vec![declined.clone()], ..Labels::default() };
    let ran = run_with(&world, config("al:2"), oracle);
    assert_eq!(ran.state.declined, std::slice::from_ref(&declined));
    assert_eq!((ran.state.spent, ran.state.annotated.len(), ran.state.pool.len()), (11, 11, 18));
    assert_eq!(ran.asked.iter().filter(|id| **id == declined).count(), 1);
    assert!(ran.entries.iter().any(|e| matches!(e.usage, Usage::Declined { .. })));
}

#[test]
fn patience_ends_a_stage() {
    let ran = run(&World::new(300), LearnConfig { patience: Some(2), ..config("spl:30-al:1") });
    let paced = kinds(&ran).iter().filter(|k| *k == "spl").count();
    assert!((2..30).contains(&paced), "{paced} rounds");
    let values: Vec<f64> = ran.state.history[..=paced].iter().map(|r| r.score.value).collect();
    let best = |v: &[f64]| v.iter().copied().fold(0.0, f64::max);
    assert!(best(&values[values.len() - 2..]) <= best(&values[..values.len() - 2]));
    assert_eq!(kinds(&ran).last().map(String::as_str), Some("al"));
}

#[test]
fn the_seed_and_nothing_else_decides() {
    let world = World::new(60);
    let with = |seed| run(&world, LearnConfig { seed, ..config("al") });
    assert_eq!(with(1).entries, with(1).entries);
    assert_ne!(with(1).asked[..4], with(2).asked[..4]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut ids = world.ids();
    ids.reverse();
    let settings = LearnConfig { seed: 1, ..config("al") };
    let mut reversed = Run::create(folder.path(), settings, ids, Vec::new()).expect("a run");
    let mut oracle = Labels::default();
    reversed.advance(&mut Logistic::new(&world), &mut oracle, &mut ()).expect("an outcome");
    assert_eq!(oracle.asked, with(1).asked);
}

#[test]
fn beta_zero_chooses_as_least_confidence() {
    let world = World::new(60);
    let zero = run(&world, LearnConfig { beta: 0.0, ..config("al") });
    let strategy = Strategy::LeastConfidence;
    assert_eq!(zero.asked, run(&world, LearnConfig { strategy, ..config("al") }).asked);
    assert_ne!(zero.asked, run(&world, config("al")).asked);
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let create = |pool: &[&str], given: &[&str]| {
        let given = given.iter().map(|&id| AnnotatedSample { id: id.into(), by: "x".into() });
        let pool = pool.iter().map(|&id| id.into()).collect();
        Run::create(folder.path(), config("al"), pool, given.collect()).err()
    };
    assert!(matches!(create(&[], &[]), Some(RunError::NoSamples)));
    assert!(matches!(create(&["a", "b", "a"], &[]), Some(RunError::Duplicate { .. })));
    assert!(matches!(create(&["a"], &["a"]), Some(RunError::Duplicate { .. })));
    let none = LearnConfig { per_round: 0, ..config("al") };
    let refused = Run::create(folder.path(), none, vec!["a".into()], Vec::new());
    assert!(matches!(refused, Err(RunError::Config(_))));
}
