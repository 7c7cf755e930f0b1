//! Ranks of a query's relevant references, from its distances to all references.

use crate::evaluation::relevance::Relevance;
use crate::neighbors::Neighbor;
use std::cmp::Ordering;

/// Finds where the relevant references of one query after the other stand among all references.
///
/// Only the relevant references are sorted. Each other reference is looked up among them, in a table over equal parts of
/// the range of their distances, and adds one to the ranks of all that it precedes.
#[derive(Default)]
pub(crate) struct RelevantRanks {
    relevant: Vec<Neighbor>,
    /// For each part of the range, how many relevant references lie in the parts before it; one entry more at the end.
    table: Vec<u32>,
    /// How many other references stand between each relevant reference and the relevant one before it.
    others_before: Vec<usize>,
    /// Other references that are as far as a relevant one.
    tied: Vec<Neighbor>,
    ranks: Vec<usize>,
}

impl RelevantRanks {
    /// Takes a query with a relevant reference, and its distances to all references. None may be NaN.
    pub(crate) fn find(&mut self, relevance: &Relevance, query: usize, distances: &[f64]) {
        self.relevant.clear();
        self.relevant
            .extend(relevance.relevant(query).map(|index| Neighbor {
                rank: distances[index],
                index,
            }));
        self.relevant.sort_unstable_by(Neighbor::order);
        let lookup = Lookup::fill(&mut self.table, &self.relevant);

        self.others_before.clear();
        self.others_before.resize(self.relevant.len(), 0);
        self.tied.clear();
        for index in relevance.others(query) {
            let other = Neighbor {
                rank: distances[index],
                index,
            };
            if other.rank > lookup.farthest {
                continue;
            }
            let before = lookup.count_before(&self.table, &self.relevant, &other);
            if let Some(others) = self.others_before.get_mut(before) {
                *others += 1;
            }
            if self.has_distance(before, other.rank) {
                self.tied.push(other);
            }
        }

        self.ranks.clear();
        let mut others = 0;
        for (relevant, before) in self.others_before.iter().enumerate() {
            others += before;
            self.ranks.push(relevant + 1 + others);
        }
    }

    /// Whether the relevant reference at `slot`, or the one before it, is at this distance.
    fn has_distance(&self, slot: usize, distance: f64) -> bool {
        let near = &self.relevant[slot.saturating_sub(1)..(slot + 1).min(self.relevant.len())];
        near.iter().any(|relevant| relevant.rank == distance)
    }

    /// The ranks of the relevant references in ascending order, 1 for the nearest of all references.
    pub(crate) fn ranks(&self) -> &[usize] {
        &self.ranks
    }

    /// Whether a run of equally far references, some relevant and some not, stands on both sides of one of the cuts.
    pub(crate) fn tie_crosses(&mut self, cuts: impl Iterator<Item = usize> + Clone) -> bool {
        self.tied.sort_unstable_by(Neighbor::order);
        let mut runs = self.tied.chunk_by(|a, b| a.rank == b.rank);
        runs.any(|others| {
            let [nearer, as_near] = [Ordering::Less, Ordering::Equal].map(|most| {
                let order = |relevant: &Neighbor| relevant.rank.total_cmp(&others[0].rank);
                self.relevant
                    .partition_point(|relevant| order(relevant) <= most)
            });
            // The rank of the run's first relevant reference counts the others of the run with lower indices.
            let lowest = self.relevant[nearer].index;
            let earlier = others.iter().filter(|other| other.index < lowest).count();
            let first = self.ranks[nearer] - earlier;
            let run = first..first + (as_near - nearer) + others.len() - 1;
            cuts.clone().any(|cut| run.contains(&cut))
        })
    }
}

/// Divides the range of the relevant distances into equal parts.
struct Lookup {
    nearest: f64,
    farthest: f64,
    /// Parts per unit of distance; 0 if the range cannot be divided.
    scale: f64,
    parts: usize,
}

impl Lookup {
    fn fill(table: &mut Vec<u32>, relevant: &[Neighbor]) -> Self {
        let [nearest, farthest] = [0, relevant.len() - 1].map(|slot| relevant[slot].rank);
        let parts = 2 * relevant.len();
        let scale = parts as f64 / (farthest - nearest);
        let lookup = Self {
            nearest,
            farthest,
            scale: if scale.is_finite() { scale } else { 0.0 },
            parts,
        };
        table.clear();
        table.resize(parts + 1, 0);
        for slot in relevant {
            table[lookup.part(slot.rank) + 1] += 1;
        }
        for part in 0..parts {
            table[part + 1] += table[part];
        }
        lookup
    }

    /// The part of a distance. It does not fall if the distance grows, since rounding keeps the order of numbers.
    fn part(&self, distance: f64) -> usize {
        // A negative product becomes 0, and so does the NaN of an infinite difference times 0.
        (((distance - self.nearest) * self.scale) as usize).min(self.parts - 1)
    }

    /// How many relevant references precede the other one.
    fn count_before(&self, table: &[u32], relevant: &[Neighbor], other: &Neighbor) -> usize {
        let part = self.part(other.rank);
        let [start, end] = [table[part] as usize, table[part + 1] as usize];
        start + relevant[start..end].partition_point(|slot| slot.order(other) == Ordering::Less)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::relevance::LabelsAndKeys;
    use proptest::prelude::*;

    /// Ranks, and the first and last rank of each run with relevant references and others, by sorting all references.
    fn sorted(relevance: &Relevance, query: usize, distances: &[f64]) -> [Vec<usize>; 3] {
        let mut all: Vec<Neighbor> = (0..)
            .zip(distances)
            .map(|(index, rank)| Neighbor { index, rank: *rank })
            .filter(|other| relevance.is_relevant(query, other.index).is_some())
            .collect();
        all.sort_by(Neighbor::order);
        let is_relevant =
            |other: &Neighbor| relevance.is_relevant(query, other.index) == Some(true);
        let ranks = (1..).zip(&all).filter(|(_, other)| is_relevant(other));
        let ranks = ranks.map(|(rank, _)| rank).collect();
        let [mut firsts, mut lasts] = [Vec::new(), Vec::new()];
        let mut last = 0;
        for run in all.chunk_by(|a, b| a.rank == b.rank) {
            let first = last + 1;
            last += run.len();
            if run.iter().any(is_relevant) && !run.iter().all(is_relevant) {
                firsts.push(first);
                lasts.push(last);
            }
        }
        [ranks, firsts, lasts]
    }

    fn check(distances: &[f64], labels: Vec<i128>, keys: Option<Vec<i128>>) {
        let relevance = Relevance::of_set(&LabelsAndKeys { labels, keys });
        let mut found = RelevantRanks::default();
        for query in relevance.queries_with_match() {
            let [ranks, firsts, lasts] = sorted(&relevance, query, distances);
            found.find(&relevance, query, distances);
            assert_eq!(found.ranks(), ranks, "query {query}");
            for cut in 1..=distances.len() {
                let mut runs = firsts.iter().zip(&lasts);
                let expected = runs.any(|(first, last)| *first <= cut && cut < *last);
                let crosses = found.tie_crosses([cut].into_iter());
                assert_eq!(crosses, expected, "query {query}, cut {cut}");
            }
        }
    }

    proptest! {
        #[test]
        fn ranks_are_those_of_a_sort(
            samples in prop::collection::vec(
                (
                    prop_oneof![
                        3 => (0_u8..6).prop_map(f64::from),
                        3 => 0.0..1.0,
                        1 => Just(1e300),
                        1 => Just(f64::INFINITY),
                        1 => Just(-1e300),
                    ],
                    0_i128..3,
                    0_i128..2,
                ),
                1..60,
            ),
            with_keys: bool,
        ) {
            let distances: Vec<f64> = samples.iter().map(|(distance, _, _)| *distance).collect();
            let labels = samples.iter().map(|(_, label, _)| *label).collect();
            let keys = samples.iter().map(|(_, _, key)| *key).collect();
            check(&distances, labels, with_keys.then_some(keys));
        }
    }

    #[test]
    fn all_references_equally_far() {
        check(
            &vec![0.5; 50],
            (0..50).map(|index| index % 3).collect(),
            None,
        );
    }
}
