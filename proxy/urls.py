"""The paths of the Messages API. No slash is added or asked for, and none redirects."""

from django.urls import re_path

from proxy import views

# People set base URLs that end in /v1 and clients add /v1 themselves: hence the second one.
PREFIX = r"^v1/(?:v1/)?"

urlpatterns = [
    re_path(PREFIX + r"messages/?$", views.MessagesView.as_view()),
    re_path(PREFIX + r"messages/stream/?$", views.MessagesStreamView.as_view()),
    re_path(PREFIX + r"messages/count_tokens/?$", views.CountTokensView.as_view()),
    re_path(PREFIX + r"models/?$", views.ModelsView.as_view()),
    re_path(PREFIX + r"models/(?P<model_id>.{1,256}?)/?$", views.ModelView.as_view()),
    re_path(PREFIX + r"health/?$", views.HealthView.as_view()),
    re_path(r"^v1(?s:/.*)?\Z", views.UnknownView.as_view()),
]
