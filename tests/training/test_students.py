"""Groups of students: one step of the group is one step of each, and the loss is the one that is written down."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine.config.models import NetworkSettings
from engine.models.networks import make_network
from engine.training.group import Group, outputs_of
from engine.training.students import Schedule, Student, kd_loss, lr_factor, measure, train_group
from engine.training.views import Samples, make_samples

CPU = torch.device("cpu")
N, D, C = 40, 6, 3
SCHEDULE = Schedule(epochs=3, batch_size=8, learning_rate=0.01, weight_decay=0.01, temperature=3.0)


@pytest.fixture
def samples() -> Samples:
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(N, D)).astype(np.float32))
    return make_samples(values, None, values, device=CPU)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).integers(0, C, N))


def group(*seeds: int, outputs: int = C) -> Group:
    settings = NetworkSettings(model="mlp", width=8, depth=1)
    return Group([make_network(settings, "numbers", (D,), outputs, seed) for seed in seeds], CPU)


def kept(seed: int, count: int = 20) -> np.ndarray:
    return np.random.default_rng([9, seed]).permutation(N)[:count]


def teacher_logits(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng([5, seed]).normal(size=(1, N, C)).astype(np.float32)) * 2


def weights(trained: Group, member: int) -> torch.Tensor:
    return torch.cat([weight[member].detach().flatten() for weight in trained.weights.values()])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_kd_loss_is_the_kl_of_the_softened_outputs(temperature: float) -> None:
    """Against the library's own divergence, whose first argument is the student."""
    teacher, student = torch.randn(2, 7, C, generator=torch.Generator().manual_seed(0))
    found = kd_loss(teacher, student, temperature).mean()
    expected = F.kl_div(
        F.log_softmax(student / temperature, -1), F.softmax(teacher / temperature, -1), reduction="batchmean"
    )
    torch.testing.assert_close(found, temperature**2 * expected)


def test_temperature_leaves_the_gradient_of_one_size() -> None:
    """The factor T²: without it the gradient would shrink sixteenfold from T = 4 on."""
    teacher = torch.randn(50, C, generator=torch.Generator().manual_seed(0))
    norms = []
    for temperature in (4.0, 16.0):
        student = torch.zeros(50, C, requires_grad=True)
        kd_loss(teacher, student, temperature).mean().backward()
        norms.append(float(student.grad.norm()))
    assert norms[1] == pytest.approx(norms[0], rel=0.2)


def test_a_group_trains_each_as_if_alone(samples: Samples, labels: torch.Tensor) -> None:
    """Stacking is only for speed: no student depends on the others, whatever their data, weights and teachers."""
    students = [
        Student(kept(0), 0),
        Student(kept(1), 1, 0.5, teacher=teacher_logits(1)),
        Student(kept(2), 2, 1.0, teacher=teacher_logits(2)),
        Student(kept(3), 3, 0.3, fresh=True, teacher=teacher_logits(1)),
    ]
    together = group(0, 1, 2, 3)
    train_group(together, students, samples, labels, SCHEDULE)
    for place, student in enumerate(students):
        alone = group(place)
        train_group(alone, [student], samples, labels, SCHEDULE)
        torch.testing.assert_close(weights(together, place), weights(alone, 0), rtol=1e-4, atol=1e-5)


def test_a_student_is_what_a_plain_loop_trains(samples: Samples, labels: torch.Tensor) -> None:
    """Against the loop people write: one network, one batch at a time, the loss spelled out."""
    weight, teacher, mine = 0.4, teacher_logits(), kept(0)
    trained = group(0)
    steps = train_group(trained, [Student(mine, 0, weight, teacher=teacher)], samples, labels, SCHEDULE)

    network = copy.deepcopy(make_network(NetworkSettings(model="mlp", width=8, depth=1), "numbers", (D,), C, 0))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=0.01)
    total, done, t = 3 * math.ceil(len(mine) / 8), 0, SCHEDULE.temperature
    for epoch in range(3):
        order = np.random.default_rng([0, epoch, 2]).permutation(mine)
        for start in range(0, len(mine), 8):
            batch = torch.from_numpy(order[start : start + 8])
            for settings in optimizer.param_groups:
                settings["lr"] = 0.01 * lr_factor(done, total)
            logits = network(*samples.take(batch))
            target = F.softmax(teacher[0, batch] / t, -1)
            kd = F.kl_div(F.log_softmax(logits / t, -1), target, reduction="batchmean")
            loss = (1 - weight) * F.cross_entropy(logits, labels[batch]) + weight * t * t * kd
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
    assert steps == total
    expected = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    torch.testing.assert_close(weights(trained, 0), expected, rtol=1e-4, atol=1e-5)


def test_full_weight_of_the_teacher_uses_no_label(samples: Samples, labels: torch.Tensor) -> None:
    """At weight 1 a wrong label can do no harm: the column shows what the teacher alone teaches."""
    found = []
    for given in (labels, (labels + 1) % C):
        trained = group(0)
        train_group(trained, [Student(kept(0), 0, 1.0, teacher=teacher_logits())], samples, given, SCHEDULE)
        found.append(weights(trained, 0))
    assert torch.equal(*found)


def test_without_weight_the_teacher_changes_nothing(samples: Samples, labels: torch.Tensor) -> None:
    """A student of weight 0 beside students with teachers is trained on its labels alone."""
    beside, alone = group(0, 1), group(0)
    taught = Student(kept(1), 1, 0.9, teacher=teacher_logits())
    train_group(beside, [Student(kept(0), 0), taught], samples, labels, SCHEDULE)
    train_group(alone, [Student(kept(0), 0)], samples, labels, SCHEDULE)
    torch.testing.assert_close(weights(beside, 0), weights(alone, 0), rtol=1e-4, atol=1e-5)


def test_a_fresh_subset_changes_every_epoch(samples: Samples, labels: torch.Tensor) -> None:
    """The fair random baseline trains on more of the data than one fixed subset, at the same number of steps."""
    seen: list[set[int]] = []
    takes = samples.take

    class Spy(Samples):
        def take(self, index: torch.Tensor, view: int = 0) -> tuple[torch.Tensor, ...]:
            seen.append(set(index.flatten().tolist()))
            return takes(index, view)

    spy = Spy(*(getattr(samples, name) for name in ("values", "mask", "mean", "std", "shifts", "flips")))
    one_batch = Schedule(epochs=4, batch_size=20, learning_rate=0.01, weight_decay=0.0, temperature=1.0)
    train_group(group(0), [Student(kept(0), 0, fresh=True)], spy, labels, one_batch)
    assert [len(rows) for rows in seen] == [20] * 4
    assert len(set(map(frozenset, seen))) == 4


def test_equal_steps_and_an_early_end_are_kept(samples: Samples, labels: torch.Tensor) -> None:
    """`steps` fixes the steps whatever is kept; `stop_after` ends early and does nothing else differently."""
    equal = Schedule(3, 8, 0.01, 0.0, 1.0, steps=17)
    assert train_group(group(0), [Student(kept(0, 10), 0)], samples, labels, equal) == 17
    snapshots: list[torch.Tensor] = []
    whole = group(0)
    student = [Student(kept(0), 0)]
    train_group(
        whole,
        student,
        samples,
        labels,
        SCHEDULE,
        on_epoch_end=lambda _, trained: snapshots.append(weights(trained, 0).clone()),
    )
    early = group(0)
    assert train_group(early, student, samples, labels, Schedule(3, 8, 0.01, 0.01, 3.0, stop_after=2)) == 6
    assert len(snapshots) == 3
    assert torch.equal(weights(early, 0), snapshots[1])


def test_online_teachers_learn_beside_their_students(samples: Samples) -> None:
    """An online teacher starts knowing nothing and ends knowing the labels; its student follows it without labels."""
    easy = (samples.values[:, 0] > 0).long()
    students, teachers = group(0, outputs=2), group(7, outputs=2)
    schedule = Schedule(30, 8, 0.02, 0.0, 2.0)
    train_group(students, [Student(np.arange(N), 0, 1.0)], samples, easy, schedule, online_teachers=teachers)
    for each in (students, teachers):
        assert measure(outputs_of(each, samples), easy)[0].accuracy > 0.9


def test_numbers_are_predicted_under_squared_errors(samples: Samples) -> None:
    """R² is 1 for the truth and 0 for the mean; a student learns a line, and at weight 1 its teacher's line."""
    truth = samples.values @ torch.arange(1.0, D + 1)
    assert measure(truth[None, :, None], truth)[0].accuracy == pytest.approx(1)
    assert measure(truth.mean().expand(1, N, 1), truth)[0].accuracy == pytest.approx(0, abs=1e-6)
    trained = group(0, outputs=1)
    schedule = Schedule(200, 20, 0.05, 0.0, 1.0)
    teacher = (truth / 2)[None, :, None]
    train_group(trained, [Student(np.arange(N), 0, 1.0, teacher=teacher)], samples, -truth, schedule)
    assert measure(outputs_of(trained, samples), truth / 2)[0].accuracy > 0.9


def test_students_of_a_group_keep_equally_many(samples: Samples, labels: torch.Tensor) -> None:
    """Unequal sets would silently be cut to the shortest."""
    with pytest.raises(ValueError, match="equally many"):
        train_group(group(0, 1), [Student(kept(0, 4), 0), Student(kept(1, 5), 1)], samples, labels, SCHEDULE)
