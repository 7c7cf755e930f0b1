//! The confusion matrix: a square for every label and prediction, darker the more of the label's samples it has.

use anyhow::Result;
use plotters::prelude::*;

use super::canvas::{LINE, Picture, SOFT, Surface, centered, px};

const SIZE: u32 = 900;
/// Left of the squares and above them.
const BORDER: u32 = 70;
/// Beyond so many classes the squares are too small for a number.
const MAX_NUMBERED: usize = 26;
const RIGHT: RGBColor = RGBColor(0x11, 0x77, 0x33);
const WRONG: RGBColor = RGBColor(0x88, 0x22, 0x55);

/// Draws `counts`, a row for each label and a column for each prediction, both called `names`.
pub fn confusion_matrix(counts: &[Vec<usize>], names: &[&str]) -> Result<Picture> {
    Picture::draw(SIZE, SIZE, |surface| draw(surface, counts, names))
}

fn draw(surface: &Surface<'_>, counts: &[Vec<usize>], names: &[&str]) -> Result<()> {
    // In pixels of the finished picture.
    let side = f64::from(SIZE - BORDER - 10) / counts.len().max(1) as f64;
    let at = |squares: f64| ((f64::from(BORDER) + side * squares) * f64::from(px(1))) as i32;
    let edge = |index: usize| at(index as f64);
    let middle = |index: usize| at(index as f64 + 0.5);
    let longest = names.iter().map(|name| name.chars().count()).max();
    let size = (side * 0.7 / longest.unwrap_or(1).max(1) as f64 * 1.4).min(side * 0.7);
    let text = |size: f64, colour: &RGBColor| centered(size.min(20.0), colour);
    let middle_of_all = (px(BORDER) + px(SIZE - 10)) as i32 / 2;
    let title = text(18.0, &SOFT);
    let place = (middle_of_all, px(14) as i32);
    surface.draw(&Text::new("predicted", place, title.clone()))?;
    let turned = title.transform(FontTransform::Rotate270);
    let place = (px(14) as i32, middle_of_all);
    surface.draw(&Text::new("label", place, turned))?;

    for (row, line) in counts.iter().enumerate() {
        let samples = line.iter().sum::<usize>().max(1) as f64;
        for (column, &count) in line.iter().enumerate() {
            let part = count as f64 / samples;
            let colour = if row == column { RIGHT } else { WRONG };
            // A single mistake among many samples is still to be seen.
            let strength = if count == 0 { 0.0 } else { 0.12 + 0.88 * part };
            let corners = [(edge(column), edge(row)), (edge(column + 1), edge(row + 1))];
            let square = Rectangle::new(corners, colour.mix(strength).filled());
            surface.draw(&square)?;
            let border = LINE.stroke_width(px(1) / 2);
            surface.draw(&Rectangle::new(corners, border))?;
            if count > 0 && counts.len() <= MAX_NUMBERED {
                let number = count.to_string();
                let size = side / number.len().max(2) as f64;
                let colour = if strength > 0.5 { WHITE } else { BLACK };
                let place = (middle(column), middle(row));
                surface.draw(&Text::new(number, place, text(size, &colour)))?;
            }
        }
    }
    let beside = px(BORDER - 22) as i32;
    for (index, &name) in names.iter().enumerate() {
        surface.draw(&Text::new(name, (middle(index), beside), text(size, &SOFT)))?;
        surface.draw(&Text::new(name, (beside, middle(index)), text(size, &SOFT)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_of_few_and_of_many_classes_can_be_drawn() {
        for classes in [1, 10, 256] {
            let counts = vec![vec![3; classes]; classes];
            let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            confusion_matrix(&counts, &names).unwrap();
        }
    }
}
