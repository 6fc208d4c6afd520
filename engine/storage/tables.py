"""The schema of every table. Scores are stored so that high = keep."""

from __future__ import annotations

import pyarrow as pa

SAMPLES = pa.schema(
    [
        ("dataset", pa.string()),  # hash of the source, columns, template, limits, split and tokenizer
        ("row", pa.int32()),  # position in the source, so that it can be found again
        ("content_id", pa.string()),  # hash of the text alone, stable across files and orders
        ("split", pa.string()),  # "train" or "valid"
        ("instruction", pa.string()),
        ("input", pa.string()),
        ("response", pa.string()),
        ("system", pa.string()),
        # Of a conversation, all its turns; its instruction is what comes before the last reply. Else null.
        ("turns", pa.list_(pa.struct([("speaker", pa.string()), ("text", pa.string())]))),
        ("fields", pa.map_(pa.string(), pa.string())),  # every other column of the source, as text
        ("length", pa.int32()),  # tokens of prompt and response together, as the models read them
        ("response_length", pa.int32()),  # tokens of the response, end token included
        ("truncated", pa.bool_()),  # the row was longer than the models' context
        ("image", pa.binary()),  # PNG; null if the sample is text or numbers
        ("label", pa.string()),  # name of the class, or the number to be predicted; null for instruction sets
    ]
)
SCORES = pa.schema(
    [
        ("run", pa.string()),
        ("arm", pa.string()),  # "dynamic"; "base" for the scores before any training, which all arms share
        ("seed", pa.int32()),  # -1 for "base"
        ("epoch", pa.int32()),  # 1 = before any training
        ("row", pa.int32()),
        ("metric", pa.string()),
        ("value", pa.float32()),  # nats per token, or a share; NaN if a model gave NaN
    ]
)
TOKEN_SCORES = pa.schema(
    [
        ("run", pa.string()),
        ("epoch", pa.int32()),
        ("row", pa.int32()),
        # Lists of equal length: position i has read token i and predicts the next one. Texts of tokens are those of
        # engine.common.characters, which keep the bytes of characters that several tokens spell.
        ("tokens", pa.list_(pa.string())),
        ("response", pa.list_(pa.bool_())),  # whether the prediction belongs to a response
        ("kl", pa.list_(pa.float32())),
        ("teacher_tokens", pa.list_(pa.list_(pa.string()))),
        ("teacher_probs", pa.list_(pa.list_(pa.float32()))),
        ("student_tokens", pa.list_(pa.list_(pa.string()))),
        ("student_probs", pa.list_(pa.list_(pa.float32()))),
        # Of a conversation: each turn, and the first token of it.
        ("turns", pa.list_(pa.struct([("speaker", pa.string()), ("first", pa.int32())]))),
    ]
)
STATES = pa.schema(
    [
        ("run", pa.string()),
        ("row", pa.int32()),
        # What the teacher's head reads, mean over the response, times the projection that the run's provenance names.
        ("state", pa.list_(pa.float32(), 64)),  # 64 times NaN if the teacher gave NaN
    ]
)
SELECTIONS = pa.schema(
    [
        ("run", pa.string()),
        ("arm", pa.string()),
        ("seed", pa.int32()),
        ("epoch", pa.int32()),
        ("row", pa.int32()),
        ("kept", pa.bool_()),
        ("tau", pa.float64()),  # null for arms without a threshold
    ]
)
METRICS = pa.schema(
    [
        ("run", pa.string()),
        ("arm", pa.string()),
        ("seed", pa.int32()),
        ("epoch", pa.int32()),
        ("step", pa.int32()),  # optimizer steps taken by the end of this epoch
        ("split", pa.string()),  # "train", "valid", or "" for what belongs to neither
        ("name", pa.string()),
        ("value", pa.float64()),
    ]
)
"""The names in this table. Epoch 0 holds the student before any training (split valid).

- `loss`: mean cross-entropy per counted token, nats (split train or valid)
- `perplexity`: exp(loss) (split valid)
- `accuracy`: share of counted tokens whose top prediction is right (split valid)
- `tau`: threshold of this epoch
- `samples`: samples trained on in this epoch
- `tokens`: tokens trained on in this epoch, prompt and response
- `steps`: optimizer steps in this epoch
- `seconds_scoring`: seconds spent scoring for this epoch
- `seconds_training`: seconds spent training in this epoch
- `parameters`: weights of a teacher or student of a grid
- `cache_bytes`: bytes of the cached outputs of a teacher
- `outer_loss`: cross-entropy on real batches after the inner steps, mean since the last snapshot (split train)
- `inner_rate`: learned rate of an inner step, whose number from 1 is the epoch
- `seconds_distilling`: seconds of a distillation up to a snapshot

In a grid of students an arm is `teacher NAME`, `score NAME` or `student`, followed by ` noise 0.2` if labels are
flipped; epoch is its last one, and seed -1 is for what all seeds share.

In a distillation the arm is SetKey.name, epoch is 0, step is the outer step of a snapshot, and `accuracy` (split valid)
is the mean over `outer.snapshot_seeds` fresh initializations.
"""
GRID = pa.schema(
    [
        ("run", pa.string()),
        ("cell", pa.string()),  # key of the training: equal keys are one and the same student
        ("score", pa.string()),
        ("fraction", pa.float64()),  # kept
        ("kd_weight", pa.float64()),
        ("teacher", pa.string()),
        ("noise", pa.float64()),  # share of training labels flipped
        ("seed", pa.int32()),
        ("samples", pa.int32()),  # kept and trained on
        ("flipped", pa.int32()),  # of them, with a flipped label
        ("valid", pa.float64()),  # accuracy (R² for regression) on the held-out part of train
        ("accuracy", pa.float64()),  # the same on the test set, after the last epoch; NaN if the cell failed
        ("loss", pa.float64()),  # on the test set: cross-entropy, or squared error in variances of the labels
        ("epochs", pa.float64()),
        ("steps", pa.int32()),
        ("seconds", pa.float64()),  # this student's share of the time of its group
        ("failed", pa.string()),  # one sentence; empty if the cell is done
    ]
)
SET_KEY = [
    # One distillation (config.distillation.SetKey).
    ("task", pa.string()),  # "main" or "other"
    ("student", pa.string()),  # the model it was distilled for
    ("per_class", pa.int32()),
    ("inner_steps", pa.int32()),
    ("seed", pa.int32()),
]
DISTILLED = pa.schema(
    [
        ("run", pa.string()),
        *SET_KEY,
        ("step", pa.int32()),  # outer step of this snapshot; 0 = as it started
        ("best", pa.bool_()),  # the snapshot that was best on held-out samples: what is measured and exported
        ("input", pa.int32()),  # 0 … C · per_class - 1
        ("label", pa.string()),  # the class it began as, or was drawn for
        ("labels", pa.list_(pa.float32())),  # (C,) the learned label: probabilities, or unrestricted numbers
        ("text", pa.string()),  # decoded; null for pictures
        ("changed", pa.int32()),  # tokens of it that differ from the start; 0 for pictures
        ("length", pa.int32()),  # tokens; 0 for pictures
        ("image", pa.binary()),  # PNG; null for texts
        ("near_rows", pa.list_(pa.int32())),  # nearest training samples of its class; empty but for the best one
        ("near_values", pa.list_(pa.float32())),  # cosine similarity of each
    ]
)
DISTILLED_TOKENS = pa.schema(
    [
        ("run", pa.string()),
        *SET_KEY,
        ("step", pa.int32()),
        ("input", pa.int32()),
        ("position", pa.int32()),
        ("start", pa.string()),  # the token this vector started at (nearest to it, if it started as noise)
        ("nearest", pa.list_(pa.string())),  # five tokens, nearest first; the decoded text is made of the first
        ("similarity", pa.list_(pa.float32())),  # of each; cosine, minus the L2 distance, or dot product: high = near
    ]
)
EVALUATION = pa.schema(
    [
        ("run", pa.string()),
        *SET_KEY,  # for "full" per_class, inner_steps are 0 and seed is -1
        ("method", pa.string()),  # of config.distillation: METHODS, MERGED, REPLAYS or PROMPTS
        ("trained", pa.string()),  # the model that was trained, or prompted; another than `student` is a transfer
        ("eval_seed", pa.int32()),  # which fresh initialization (and which draw of random samples)
        ("samples", pa.int32()),  # trained on, or shown in the prompt
        ("learning_rate", pa.float64()),  # best on held-out samples; NaN if the set has its own rates
        ("steps", pa.int32()),  # taken; best on held-out samples
        ("valid", pa.float64()),  # accuracy on the held-out part of train, NaN for prompts
        ("accuracy", pa.float64()),  # on the test set
        ("loss", pa.float64()),  # cross-entropy on the test set, nats
        ("seconds", pa.float64()),  # of training up to that step
        ("flops", pa.float64()),  # floating-point operations of training up to that step
    ]
)
SCHEMAS: dict[str, pa.Schema] = {
    "samples": SAMPLES,
    "scores": SCORES,
    "token_scores": TOKEN_SCORES,
    "states": STATES,
    "selections": SELECTIONS,
    "metrics": METRICS,
    "grid": GRID,
    "distilled": DISTILLED,
    "distilled_tokens": DISTILLED_TOKENS,
    "evaluation": EVALUATION,
}
