//! What each word of a text did to the score: the model is asked again without it.
//!
//! A word that stands there several times, whatever its case, is left out everywhere at once. Unlike
//! Shapley values these do not add up to anything: two words that say the same cover for each other.

use std::ops::Range;
use std::sync::Arc;

use super::sign;
use crate::frame::TextInput;
use crate::note;
use crate::settings::Direction;
use crate::verdict::Contribution;

/// The first different words of a text are asked about.
const MOST_ASKED: usize = 64;
/// The strongest are told.
const MOST_TOLD: usize = 12;

/// One explanation under way.
#[derive(Clone, Debug)]
pub struct Words {
    text: Arc<str>,
    input: TextInput,
    words: Vec<Word>,
    asked: usize,
    scores: Vec<f64>,
}

#[derive(Clone, Debug)]
struct Word {
    bare: String,
    /// Where it stands, with the punctuation around it.
    places: Vec<Range<usize>>,
}

impl Words {
    /// `text` as it came; `input` says how the model takes it.
    pub fn new(text: Arc<str>, input: TextInput) -> Self {
        let mut words: Vec<Word> = Vec::new();
        for (place, bare) in note::words(&text) {
            let same = |known: &Word| known.bare.to_lowercase() == bare.to_lowercase();
            match words.iter().position(same) {
                Some(known) => words[known].places.push(place),
                None if words.len() < MOST_ASKED => {
                    words.push(Word { bare: bare.to_owned(), places: vec![place] });
                }
                None => {}
            }
        }
        Self { text, input, words, asked: 0, scores: Vec::new() }
    }

    /// Appends at most `most` texts to `out`, whose scores are to be answered; their number.
    pub fn ask(&mut self, most: usize, out: &mut Vec<Arc<str>>) -> usize {
        let count = most.min(self.words.len() + 1 - self.asked);
        for question in self.asked..self.asked + count {
            let text = match question.checked_sub(1) {
                None => Arc::clone(&self.text),
                Some(word) => self.without(&self.words[word]),
            };
            out.push(self.input.prepared(&text));
        }
        self.asked += count;
        count
    }

    /// The scores of what was asked, in the same order; not finite where the model cannot say.
    pub fn answer(&mut self, scores: &[f64]) {
        self.scores.extend_from_slice(scores);
    }

    pub fn is_done(&self) -> bool {
        self.scores.len() > self.words.len()
    }

    pub fn has_failed(&self) -> bool {
        self.scores.iter().any(|score| !score.is_finite())
    }

    /// What each word that has been asked about added to the score, strongest first; `None` while
    /// too little has been answered, or when the model could not answer all.
    pub fn contributions(&self, direction: Direction) -> Option<Vec<Contribution>> {
        let (whole, without) = self.scores.split_first()?;
        if self.has_failed() || (without.is_empty() && !self.is_done()) {
            return None;
        }
        let told = |(word, score): (&Word, &f64)| Contribution {
            tag: note::shown(&word.bare),
            value: None,
            share: sign(direction) * (whole - score) + 0.0,
        };
        let mut found: Vec<Contribution> = self.words.iter().zip(without).map(told).collect();
        found.sort_by(|a, b| b.share.abs().total_cmp(&a.share.abs()));
        found.truncate(MOST_TOLD);
        found.sort_by(|a, b| b.share.total_cmp(&a.share));
        Some(found)
    }

    fn without(&self, word: &Word) -> Arc<str> {
        let mut left = String::with_capacity(self.text.len());
        let mut from = 0;
        for place in &word.places {
            left.push_str(&self.text[from..place.start]);
            from = place.end;
        }
        left.push_str(&self.text[from..]);
        left.split_whitespace().collect::<Vec<_>>().join(" ").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A model that counts leaks, and takes off for what is fine.
    fn score(text: &str) -> f64 {
        text.split(' ').map(|word| if word.contains("leck") { 0.5 } else { 0.0 }).sum::<f64>()
            - if text.contains("gut") { 0.25 } else { 0.0 }
    }

    fn explained(text: &str, direction: Direction) -> Vec<(String, f64)> {
        let mut words =
            Words::new(text.into(), TextInput { lowercase: true, single_spaces: false });
        let mut asked = Vec::new();
        while !words.is_done() {
            asked.clear();
            let count = words.ask(2, &mut asked);
            assert_eq!(count, asked.len());
            words.answer(&asked.iter().map(|text| score(text)).collect::<Vec<_>>());
        }
        let told = words.contributions(direction).expect("all is answered");
        told.into_iter().map(|one| (one.tag, one.share)).collect()
    }

    #[test]
    fn a_word_is_worth_what_the_score_loses_without_it() {
        let told = explained("Pumpe LECKT, sonst gut. leckt!", Direction::Above);
        let told: Vec<_> = told.iter().map(|(word, share)| (word.as_str(), *share)).collect();
        assert_eq!(told, [("LECKT", 1.0), ("Pumpe", 0.0), ("sonst", 0.0), ("gut", -0.25)]);
        assert_eq!(explained("leckt", Direction::Below), [("leckt".to_owned(), -0.5)]);
        assert_eq!(explained("!!!", Direction::Above), []);
    }

    #[test]
    fn a_long_text_costs_no_more_than_its_first_words() {
        let text: String = (0..500).map(|at| format!("w{at} ")).collect();
        let mut words = Words::new(text.into(), TextInput::default());
        let mut asked = Vec::new();
        assert_eq!(words.ask(1000, &mut asked), MOST_ASKED + 1);
        assert_eq!(words.contributions(Direction::Above), None);
        words.answer(&vec![0.5; MOST_ASKED + 1]);
        assert_eq!(words.contributions(Direction::Above).map(|told| told.len()), Some(MOST_TOLD));
    }

    #[test]
    fn what_is_known_in_time_is_told_and_a_failure_tells_nothing() {
        let mut words = Words::new("a b c".into(), TextInput::default());
        words.ask(2, &mut Vec::new());
        words.answer(&[0.9, 0.4]);
        let told = words.contributions(Direction::Above).expect("one word is known");
        assert_eq!(told.iter().map(|one| one.tag.as_str()).collect::<Vec<_>>(), ["a"]);
        words.answer(&[f64::NAN]);
        assert!(words.has_failed() && words.contributions(Direction::Above).is_none());
    }
}
