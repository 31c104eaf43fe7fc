//! The second learner: logistic regression on points of a plane, and an oracle that knows all
//! labels. Class 1 lies to the upper right of the line x + y = 0.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use dasl_learn::oracle::Answer;
use dasl_learn::pseudo_label::{best_label, cross_entropy, multi_task_loss};
use dasl_learn::{
    AnnotatedSample, Audit, FineTuneReport, Learner, Oracle, Prediction, PseudoSample, Request,
    SampleId, Score, VisitMembers,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Points with their true labels.
pub struct World {
    pub points: BTreeMap<SampleId, ([f64; 2], bool)>,
    pub validation: Vec<([f64; 2], bool)>,
}

impl World {
    pub fn new(samples: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let mut point = || {
            let p = [rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)];
            (p, p[0] + p[1] > 0.0)
        };
        let validation = (0..400).map(|_| point()).collect();
        let points = (0..samples).map(|i| (format!("p{i:03}").into(), point())).collect();
        Self { points, validation }
    }

    pub fn ids(&self) -> Vec<SampleId> {
        self.points.keys().cloned().collect()
    }
}

/// Where a failure is injected: the countdown runs over all calls.
#[derive(Default)]
pub struct Fuse(pub Option<usize>);

impl Fuse {
    /// Burns one call; fails when it is burnt down.
    pub fn burn(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Some(0) => Err(io::Error::other("injected")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn probability(w: &[f64; 3], [x, y]: [f64; 2]) -> f64 {
    let z = w[0] * x + w[1] * y + w[2];
    1.0 / (1.0 + (-z).exp())
}

/// The weights that a run begins with.
pub const FRESH: [f64; 3] = [0.3, -0.4, 0.1];

pub struct Logistic<'a> {
    pub world: &'a World,
    /// Of x, of y, and the bias.
    pub w: [f64; 3],
    /// Momentum, carried from one fine-tuning to the next.
    pub momentum: [f64; 3],
    pub fuse: Fuse,
    /// Whether predictions come last sample first.
    pub backwards: bool,
    /// Arguments of every fine-tuning.
    pub seen: Vec<(Vec<AnnotatedSample>, Vec<PseudoSample>)>,
    /// Weights at the beginning of every fine-tuning, by round.
    pub entered_with: BTreeMap<usize, [f64; 3]>,
    /// Those that it then trained, by round.
    pub went_on_from: BTreeMap<usize, [f64; 3]>,
    /// Weights with which each sample was audited.
    pub audited_with: BTreeMap<SampleId, [f64; 3]>,
}

impl<'a> Logistic<'a> {
    pub fn new(world: &'a World) -> Self {
        Self {
            world,
            w: FRESH,
            momentum: [0.0; 3],
            fuse: Fuse::default(),
            backwards: false,
            seen: Vec::new(),
            entered_with: BTreeMap::new(),
            went_on_from: BTreeMap::new(),
            audited_with: BTreeMap::new(),
        }
    }

    fn probability(&self, point: [f64; 2]) -> f64 {
        probability(&self.w, point)
    }

    fn train(
        &mut self,
        annotated: &[AnnotatedSample],
        pseudo: &[PseudoSample],
        round: usize,
        anew: bool,
    ) -> io::Result<FineTuneReport> {
        let mut batch = Vec::new();
        for sample in annotated {
            let (point, label) = self.point(&sample.id)?;
            batch.push((point, label, 1.0));
        }
        for sample in pseudo {
            let (point, _) = self.point(sample.id())?;
            let (zero, one) = cross_entropy(self.probability(point));
            batch.push((point, best_label(zero, one).positive, sample.weight()));
        }
        if anew {
            (self.w, self.momentum) = (FRESH, [0.0; 3]);
        }
        self.went_on_from.insert(round, self.w);
        // A little noise, so that a run that is resumed in the wrong round is found out.
        let mut rng = ChaCha8Rng::seed_from_u64(round as u64);
        for step in 0..200 {
            if step % 100 == 30 {
                self.fuse.burn()?;
            }
            let mut gradient = [0.0; 3];
            for &(point, label, weight) in &batch {
                let error = weight * (self.probability(point) - f64::from(u8::from(label)));
                for (g, x) in gradient.iter_mut().zip([point[0], point[1], 1.0]) {
                    *g += error * x / batch.len() as f64;
                }
            }
            for ((w, m), g) in self.w.iter_mut().zip(&mut self.momentum).zip(gradient) {
                *m = 0.8 * *m + g + rng.random_range(-1e-3..1e-3);
                *w -= *m;
            }
        }
        let points: Vec<_> = batch.iter().map(|&(p, label, _)| (p, label)).collect();
        let loss = |&(p, label): &([f64; 2], bool)| {
            let (zero, one) = cross_entropy(self.probability(p));
            if label { one } else { zero }
        };
        let mean_loss = points.iter().map(loss).sum::<f64>() / points.len() as f64;
        Ok(FineTuneReport { mean_accuracy: self.accuracy(&points), mean_loss })
    }

    fn point(&self, id: &SampleId) -> io::Result<([f64; 2], bool)> {
        let missing = || io::Error::other(format!("no sample {id}"));
        self.world.points.get(id).copied().ok_or_else(missing)
    }

    fn accuracy(&self, points: &[([f64; 2], bool)]) -> f64 {
        let right = points.iter().filter(|(p, label)| (self.probability(*p) > 0.5) == *label);
        right.count() as f64 / points.len() as f64
    }
}

impl Learner for Logistic<'_> {
    type Error = io::Error;

    fn predict(
        &mut self,
        pool: &[SampleId],
        visit: &mut dyn FnMut(usize, Prediction) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let mut order: Vec<usize> = (0..pool.len()).collect();
        if self.backwards {
            order.reverse();
        }
        for i in order {
            self.fuse.burn()?;
            let (point, _) = self.point(&pool[i])?;
            let p = self.probability(point);
            let (zero, one) = cross_entropy(p);
            let prediction = Prediction {
                probabilities: vec![p as f32],
                // Without negative parts, as an output volume is.
                descriptor: point.iter().map(|&x| x as f32 + 1.5).collect(),
                loss: multi_task_loss(best_label(zero, one).loss, None),
                foreground: p > 0.5,
            };
            if visit(i, prediction).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn predict_committee(
        &mut self,
        resamples: &[Vec<AnnotatedSample>],
        pool: &[SampleId],
        round: usize,
        visit: VisitMembers<'_>,
    ) -> io::Result<()> {
        let start = (self.w, self.momentum);
        let mut members = Vec::new();
        for resample in resamples {
            (self.w, self.momentum) = start;
            self.train(resample, &[], round, false)?;
            members.push(self.w);
        }
        for (i, id) in pool.iter().enumerate() {
            let (point, _) = self.point(id)?;
            let of = |w: &[f64; 3]| vec![probability(w, point) as f32];
            if visit(i, &members.iter().map(of).collect::<Vec<_>>()).is_break() {
                break;
            }
        }
        // The weights are left as they came: the engine loads them again.
        Ok(())
    }

    fn fine_tune(
        &mut self,
        annotated: &[AnnotatedSample],
        pseudo: &[PseudoSample],
        round: usize,
        anew: bool,
    ) -> io::Result<FineTuneReport> {
        self.seen.push((annotated.to_vec(), pseudo.to_vec()));
        self.entered_with.insert(round, self.w);
        self.train(annotated, pseudo, round, anew)
    }

    fn validate(&mut self) -> io::Result<Score> {
        self.fuse.burn()?;
        let value = self.accuracy(&self.world.validation);
        Ok(Score { value, figures: BTreeMap::from([("third".to_owned(), value / 3.0)]) })
    }

    fn audit(&mut self, samples: &[SampleId]) -> io::Result<Vec<Audit>> {
        self.fuse.burn()?;
        self.audited_with.extend(samples.iter().map(|id| (id.clone(), self.w)));
        samples
            .iter()
            .map(|id| {
                let (point, label) = self.point(id)?;
                let pseudo = self.probability(point) > 0.5;
                let right = f64::from(u8::from(pseudo == label));
                Ok(Audit { dice: right, precision: pseudo.then_some(right) })
            })
            .collect()
    }

    fn save(&self, folder: &Path) -> io::Result<()> {
        let numbers = |three: [f64; 3]| three.map(|x| x.to_bits().to_string()).join("\n");
        // Two files, with the failure between them: a folder is either whole or not there.
        fs::write(folder.join("w"), numbers(self.w))?;
        let mut fuse = Fuse(self.fuse.0);
        fuse.burn()?;
        fs::write(folder.join("momentum"), numbers(self.momentum))
    }

    fn load(&mut self, folder: &Path) -> io::Result<()> {
        self.fuse.burn()?;
        for (file, target) in [("w", &mut self.w), ("momentum", &mut self.momentum)] {
            let text = fs::read_to_string(folder.join(file))?;
            for (x, line) in target.iter_mut().zip(text.lines()) {
                *x = f64::from_bits(line.parse().map_err(io::Error::other)?);
            }
        }
        Ok(())
    }
}

/// Reveals true labels.
#[derive(Default)]
pub struct Labels {
    pub fuse: Fuse,
    /// Most answers to one question; a person who has little time.
    pub at_most: Option<usize>,
    /// Samples it declines.
    pub declines: Vec<SampleId>,
    /// All samples it was asked for.
    pub asked: Vec<SampleId>,
    /// Every request as it came.
    pub requests: Vec<Request>,
}

impl Oracle for Labels {
    type Error = io::Error;

    fn name(&self) -> &'static str {
        "labels"
    }

    fn annotate(&mut self, request: &Request) -> io::Result<Vec<Answer>> {
        self.fuse.burn()?;
        let samples: Vec<&SampleId> = request.questions.iter().map(|q| &q.sample).collect();
        self.asked.extend(samples.iter().map(|&id| id.clone()));
        self.requests.push(request.clone());
        let answer = |id: &SampleId| {
            if self.declines.contains(id) {
                Answer::Declined { id: id.clone() }
            } else {
                Answer::Annotated { id: id.clone(), foreground_voxels: 1 }
            }
        };
        Ok(samples.into_iter().take(self.at_most.unwrap_or(usize::MAX)).map(answer).collect())
    }
}
