"""Train, look and predict from Python: the cells of a notebook."""

# %% Train a network on the 8 x 8 digits
import nn

run = nn.train(["lr=0.1", "epochs=5", "tracking=disabled"])
print(run.summary["test/accuracy"])

# %% Look at its numbers as data frames
print(run.history[["epoch", "train/loss", "val/loss", "val/accuracy"]])
print(run.confusion_matrix)

# %% Compare learning rates
for lr in (0.01, 0.03, 0.1):
    other = nn.train([f"lr={lr}", "epochs=5", "tracking=disabled"])
    print(lr, other.summary["val/accuracy"])

# %% A mistake is an exception
try:
    nn.train(["lr=-1"])
except nn.UserError as error:
    print(error)

# %% Predict the classes of images
from sklearn.datasets import load_digits

images, labels = load_digits(return_X_y=True)
print((run.predict(images) == labels).mean())
