"use strict";
/* The inverse that deconvolution needs: the pseudo-inverse of a small dense matrix, by its singular values. */

/** Rotate pairs of columns until all are orthogonal (Hestenes 1958): A V = U S. Returns [U S, V], both as columns. */
function orthogonalised(matrix) {
  const count = matrix[0].length;
  const columns = Array.from({ length: count }, (_, j) => matrix.map((row) => row[j]));
  const turns = Array.from({ length: count }, (_, j) => Array.from({ length: count }, (_, i) => (i === j ? 1 : 0)));
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  for (let sweep = 0, turned = true; turned && sweep < 60; sweep++) {
    turned = false;
    for (let p = 0; p < count; p++) {
      for (let q = p + 1; q < count; q++) {
        const [a, b, c] = [dot(columns[p], columns[p]), dot(columns[q], columns[q]), dot(columns[p], columns[q])];
        if (Math.abs(c) <= 1e-15 * Math.sqrt(a * b) || Math.abs(c) < 1e-300) continue;
        turned = true;
        const slope = (b - a) / (2 * c);
        const tangent = (slope < 0 ? -1 : 1) / (Math.abs(slope) + Math.hypot(1, slope));
        const cosine = 1 / Math.hypot(1, tangent);
        for (const vectors of [columns, turns]) rotate(vectors[p], vectors[q], cosine, cosine * tangent);
      }
    }
  }
  return [columns, turns];
}

function rotate(first, second, cosine, sine) {
  for (let i = 0; i < first.length; i++) {
    const [a, b] = [first[i], second[i]];
    first[i] = cosine * a - sine * b;
    second[i] = sine * a + cosine * b;
  }
}

/** The matrix that maps y to argmin |A x - y|^2 + regularization |x|^2; of smallest norm where there are many. */
function pseudoInverse(matrix, regularization) {
  const [scaled, turns] = orthogonalised(matrix);
  const squares = scaled.map((column) => column.reduce((sum, value) => sum + value * value, 0));
  const cutoff = (Math.max(matrix.length, turns.length) * Number.EPSILON) ** 2 * Math.max(...squares);
  const inverse = turns.map(() => new Array(matrix.length).fill(0));
  squares.forEach((square, k) => {
    if (square <= cutoff) return;
    for (let i = 0; i < inverse.length; i++) {
      const weight = turns[k][i] / (square + regularization);
      for (let j = 0; j < matrix.length; j++) inverse[i][j] += weight * scaled[k][j];
    }
  });
  return inverse;
}
