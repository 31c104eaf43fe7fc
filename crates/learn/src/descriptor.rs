//! The descriptors of a pool between the two passes of Eq. (3): in memory, or beyond a limit in a
//! scratch file that vanishes with the process.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rayon::prelude::*;

use crate::density::{UnitSum, dot};

/// Bytes that are written to or read from the scratch file at once.
const BLOCK_BYTES: usize = 4 << 20;

/// Vectors of one length, stored by place in the pool.
pub struct Descriptors {
    length: usize,
    count: usize,
    store: Store,
    /// First pass over the vectors that came in the order of their places.
    sum: UnitSum,
    /// Those that came next and are yet to be added up and stored, a block at once.
    waiting: Vec<f32>,
}

enum Store {
    Memory(Vec<f32>),
    /// Numbers as the processor has them: no other process reads it.
    File(File),
}

impl Store {
    /// Stores numbers from the number `at` on.
    fn write(&mut self, at: usize, numbers: &[f32]) -> io::Result<()> {
        match self {
            Self::Memory(all) => {
                all[at..][..numbers.len()].copy_from_slice(numbers);
                Ok(())
            }
            Self::File(file) => {
                file.seek(SeekFrom::Start(4 * at as u64))?;
                file.write_all(bytemuck::cast_slice(numbers))
            }
        }
    }
}

/// Reads numbers from the number `at` on.
fn read(mut file: &File, at: usize, numbers: &mut [f32]) -> io::Result<()> {
    file.seek(SeekFrom::Start(4 * at as u64))?;
    file.read_exact(bytemuck::cast_slice_mut(numbers))
}

impl Descriptors {
    /// Room for `count` vectors of `length` numbers, at least one; in `scratch_folder` if they
    /// take more than `memory_bytes`.
    ///
    /// # Errors
    /// If the scratch file can't be made.
    pub fn new(
        count: usize,
        length: usize,
        memory_bytes: u64,
        scratch_folder: &Path,
    ) -> io::Result<Self> {
        let bytes = (count as u64).saturating_mul(length as u64).saturating_mul(4);
        let store = if bytes <= memory_bytes {
            Store::Memory(vec![0.0; count * length])
        } else {
            let file = tempfile::tempfile_in(scratch_folder)?;
            file.set_len(bytes)?;
            Store::File(file)
        };
        Ok(Self { length, count, store, sum: UnitSum::new(), waiting: Vec::new() })
    }

    /// Numbers in each vector.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Vectors in a block.
    fn at_once(&self) -> usize {
        (BLOCK_BYTES / (4 * self.length)).max(1)
    }

    /// Stores the vector of place `index`, once; it must have the right length.
    ///
    /// # Errors
    /// If the scratch file can't be written, as on a full disk; perhaps only of a later vector.
    pub fn put(&mut self, index: usize, vector: &[f32]) -> io::Result<()> {
        if index != self.sum.count() + self.waiting.len() / self.length {
            return self.store.write(index * self.length, vector);
        }
        self.waiting.extend_from_slice(vector);
        if self.waiting.len() >= self.at_once() * self.length { self.take_in() } else { Ok(()) }
    }

    /// Adds up and stores what waits.
    fn take_in(&mut self) -> io::Result<()> {
        let Self { length, store, sum, waiting, .. } = self;
        let at = sum.count() * *length;
        let (written, ()) =
            rayon::join(|| store.write(at, waiting), || sum.add_all(waiting, *length));
        waiting.clear();
        written
    }

    /// The first pass over all vectors; it is done already over those that came in order.
    fn add_up(&mut self) -> io::Result<()> {
        self.take_in()?;
        let mut sum = std::mem::take(&mut self.sum);
        self.for_each_block(sum.count(), |block| sum.add_all(block, self.length))?;
        self.sum = sum;
        Ok(())
    }

    /// Density of every vector, by place: both passes, each in the order of the places, so that the
    /// last bits depend neither on the order in which the vectors came nor on the number of threads.
    ///
    /// # Errors
    /// If the scratch file can't be read.
    pub fn densities(&mut self) -> io::Result<Vec<f64>> {
        self.add_up()?;
        let mut densities = Vec::with_capacity(self.count);
        self.for_each_block(0, |block| {
            let first = densities.len();
            let vectors = block.par_chunks(self.length).enumerate();
            densities.par_extend(vectors.map(|(i, v)| self.sum.density(first + i, v)));
        })?;
        Ok(densities)
    }

    /// Cosine similarity of the vectors of some places to all: `[place][vector]`. That of a zero
    /// vector with anything is 0.
    ///
    /// # Errors
    /// If the scratch file can't be read.
    pub fn cosines(&mut self, places: &[usize]) -> io::Result<Vec<Vec<f64>>> {
        self.add_up()?;
        let from: Vec<Vec<f32>> =
            places.iter().map(|&place| self.get(place)).collect::<io::Result<_>>()?;
        let mut cosines = vec![Vec::with_capacity(self.count); places.len()];
        let norm = |place| self.sum.norm(place);
        self.for_each_block(0, |block| {
            let all = cosines.par_iter_mut().zip(&from).zip(places);
            all.for_each(|((cosines, from), &own)| {
                let first = cosines.len();
                cosines.extend(block.chunks(self.length).enumerate().map(|(i, v)| {
                    let norms = norm(own) * norm(first + i);
                    if norms > 0.0 { (dot(from, v) / norms).clamp(-1.0, 1.0) } else { 0.0 }
                }));
            });
        })?;
        Ok(cosines)
    }

    fn get(&self, index: usize) -> io::Result<Vec<f32>> {
        let at = index * self.length;
        match &self.store {
            Store::Memory(all) => Ok(all[at..][..self.length].to_vec()),
            Store::File(file) => {
                let mut vector = vec![0.0; self.length];
                read(file, at, &mut vector)?;
                Ok(vector)
            }
        }
    }

    /// Whole vectors one after the other from a place on, as many at once as a block holds; of a
    /// file the next block is read meanwhile.
    fn for_each_block(&self, from: usize, mut visit: impl FnMut(&[f32]) + Send) -> io::Result<()> {
        let block = self.at_once() * self.length;
        let (mut at, end) = (from * self.length, self.count * self.length);
        match &self.store {
            Store::Memory(all) => all[at..].chunks(block).for_each(visit),
            Store::File(file) => {
                let (mut here, mut next) = (vec![0.0; block], vec![0.0; block]);
                let mut size = block.min(end - at);
                read(file, at, &mut here[..size])?;
                while size > 0 {
                    at += size;
                    let following = block.min(end - at);
                    let (done, ()) = rayon::join(
                        || read(file, at, &mut next[..following]),
                        || visit(&here[..size]),
                    );
                    done?;
                    std::mem::swap(&mut here, &mut next);
                    size = following;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_file_in_any_order_give_the_same_bits() {
        let folder = tempfile::tempdir().expect("a folder");
        let vectors: Vec<Vec<f32>> =
            (0..7_u8).map(|i| (0..5_u8).map(|j| f32::from(i * j + 1).sin()).collect()).collect();
        let densities = |memory_bytes, order: &[usize]| {
            let mut store = Descriptors::new(7, 5, memory_bytes, folder.path()).expect("room");
            assert_eq!(matches!(store.store, Store::File(_)), memory_bytes < 140);
            for &i in order {
                store.put(i, &vectors[i]).expect("stored");
            }
            store.densities().expect("densities")
        };
        let in_memory = densities(140, &[0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(densities(139, &[6, 3, 0, 1, 5, 4, 2]), in_memory);
        assert_eq!(densities(1000, &[3, 6, 5, 4, 2, 1, 0]), in_memory);
        assert_eq!(densities(0, &[0, 1, 2, 5, 3, 6, 4]), in_memory);
        let mut sum = UnitSum::new();
        for v in &vectors {
            sum.add(v);
        }
        assert_eq!(in_memory[4].to_bits(), sum.density(4, &vectors[4]).to_bits());
    }

    fn made_up(count: usize, length: usize) -> Vec<Vec<f32>> {
        let number = |i: usize, j: usize| ((i * 7919 + j * 104_729) % 1009) as f32 / 1009.0;
        (0..count).map(|i| (0..length).map(|j| number(i, j)).collect()).collect()
    }

    fn stored(vectors: &[Vec<f32>], memory_bytes: u64) -> Descriptors {
        let folder = tempfile::tempdir().expect("a folder");
        let (count, length) = (vectors.len(), vectors[0].len());
        let mut store = Descriptors::new(count, length, memory_bytes, folder.path()).expect("room");
        for (i, vector) in vectors.iter().enumerate() {
            store.put(i, vector).expect("stored");
        }
        store
    }

    #[test]
    fn many_blocks_and_any_number_of_threads_give_the_same_bits() {
        // 90 vectors of 64 KiB: two blocks.
        let vectors = made_up(90, 1 << 14);
        let densities = |threads, memory_bytes| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("pool");
            pool.install(|| stored(&vectors, memory_bytes).densities().expect("densities"))
        };
        let one = densities(1, 0);
        assert_eq!(one.len(), 90);
        assert_eq!(densities(3, 0), one);
        assert_eq!(densities(2, u64::MAX), one);
    }

    /// As `NumPy` does it on float32: unit vectors, their products, all in single precision.
    #[test]
    fn equals_the_definition_in_single_precision() {
        let vectors = made_up(40, 500);
        let unit = |v: &Vec<f32>| {
            let norm = v.iter().map(|x| x * x).sum::<f32>().sqrt();
            v.iter().map(|x| x / norm).collect::<Vec<f32>>()
        };
        let units: Vec<Vec<f32>> = vectors.iter().map(unit).collect();
        let found = stored(&vectors, 0).densities().expect("densities");
        for (unit, found) in units.iter().zip(found) {
            let cosine = |other: &Vec<f32>| unit.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
            let expected = (units.iter().map(cosine).sum::<f32>() - 1.0) / 39.0;
            assert!((f64::from(expected) - found).abs() < 1e-5, "{expected} {found}");
        }
    }

    #[test]
    fn cosines_by_hand() {
        let vectors = [vec![2.0, 0.0], vec![3.0, 3.0], vec![-1.0, 0.0], vec![0.0, 0.0]];
        let half = 0.5_f64.sqrt();
        for memory_bytes in [0, u64::MAX] {
            let found = stored(&vectors, memory_bytes).cosines(&[0, 3]).expect("cosines");
            for (found, expected) in found[0].iter().zip([1.0, half, -1.0, 0.0]) {
                assert!((found - expected).abs() < 1e-15);
            }
            assert_eq!(found[1], [0.0; 4]);
        }
    }
}
