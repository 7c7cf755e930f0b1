//! ROC curves: how much is accepted that should be, against how much is that should not.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::canvas::{FONT, Picture, Surface, px};
use super::legend::{draw_legend, line_sample};
use super::palette::class_colour;

const SIZE: (u32, u32) = (520, 540);
/// Points nearer to the last one than this in both rates are not drawn.
const RESOLUTION: f64 = 1e-3;

/// One curve: its name, and its false and true accept rates from the strictest threshold on.
pub struct Roc {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// The curves with the names of the two rates.
pub fn roc(curves: &[Roc], false_rate: &str, true_rate: &str) -> Result<Picture> {
    Picture::draw(SIZE.0, SIZE.1, |surface| {
        draw(surface, curves, false_rate, true_rate).map_err(|error| anyhow!("{error}"))
    })
}

fn draw<'a>(
    surface: &'a Surface<'_>,
    curves: &[Roc],
    false_rate: &str,
    true_rate: &str,
) -> Result<(), Box<dyn std::error::Error + 'a>> {
    let grey = RGBColor(0x66, 0x66, 0x66);
    let text = |size: u32| (FONT, px(size)).into_font().color(&grey);
    let mut chart = ChartBuilder::on(surface)
        .margin(px(14))
        .x_label_area_size(px(40))
        .y_label_area_size(px(52))
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    chart
        .configure_mesh()
        .x_desc(false_rate)
        .y_desc(true_rate)
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(0xe8, 0xe8, 0xe8).stroke_width(px(1)))
        .axis_style(RGBColor(0xaa, 0xaa, 0xaa).stroke_width(px(1)))
        .label_style(text(12))
        .axis_desc_style(text(12))
        .draw()?;
    for (index, curve) in curves.iter().enumerate() {
        let style = class_colour(index).stroke_width(px(2));
        chart
            .draw_series(LineSeries::new(thinned(&curve.points), style))?
            .label(&curve.name)
            .legend(move |place| line_sample(place, style));
    }
    Ok(draw_legend(&mut chart, SeriesLabelPosition::LowerRight)?)
}

/// The points that can be told apart, and the last one.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for (index, &(x, y)) in points.iter().enumerate() {
        let near = kept.last().is_some_and(|&(last_x, last_y)| {
            (x - last_x).abs() < RESOLUTION && (y - last_y).abs() < RESOLUTION
        });
        if !near || index + 1 == points.len() {
            kept.push((x, y));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_both_ends() {
        let points: Vec<(f64, f64)> = (0..=10_000).map(|i| (f64::from(i) / 1e4, 1.0)).collect();
        let kept = thinned(&points);
        assert!(kept.len() < 1200, "{}", kept.len());
        assert_eq!((kept[0], kept[kept.len() - 1]), ((0.0, 1.0), (1.0, 1.0)));
    }

    #[test]
    fn no_one_and_several_curves_can_be_drawn() {
        for count in 0..3 {
            let curve = |_| Roc {
                name: "nearest center".to_owned(),
                points: vec![(0.0, 0.0), (0.0, 0.9), (1.0, 1.0)],
            };
            let curves = Vec::from_iter((0..count).map(curve));
            roc(&curves, "unknown accepted", "known accepted").unwrap();
        }
    }
}
